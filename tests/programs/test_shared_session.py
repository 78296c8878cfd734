"""Asynchronous actor-critic: threads share a session and a global network, with local copies to act by."""

from __future__ import annotations

import threading

import numpy as np

import graphrun as tf

WORKERS, PLACES, GAMMA, EPISODES = 3, 6, 0.9, 120


class Corridor:
    """Walk right to the end for a reward of 1; each step costs a little."""

    def reset(self):
        self.place, self.steps = 0, 0
        return self.observe()

    def observe(self):
        return np.eye(PLACES, dtype=np.float32)[self.place]

    def step(self, action):
        self.place = max(0, self.place + (1 if action else -1))
        self.steps += 1
        done = self.place == PLACES - 1
        return self.observe(), 1.0 if done else -0.05, done or self.steps == 40


class ACNet:
    def __init__(self, scope, globalAC=None, optimizers=None):
        with tf.variable_scope(scope):
            self.s = tf.placeholder(tf.float32, [None, PLACES], "S")
            w_init = tf.random_normal_initializer(0.0, 0.1)
            with tf.variable_scope("actor"):
                l_a = tf.layers.dense(self.s, 16, tf.nn.relu6, kernel_initializer=w_init, name="la")
                self.a_prob = tf.layers.dense(l_a, 2, tf.nn.softmax, kernel_initializer=w_init, name="ap")
            with tf.variable_scope("critic"):
                l_c = tf.layers.dense(self.s, 16, tf.nn.relu6, kernel_initializer=w_init, name="lc")
                self.v = tf.layers.dense(l_c, 1, kernel_initializer=w_init, name="v")
            self.a_params = tf.get_collection(tf.GraphKeys.TRAINABLE_VARIABLES, scope=f"{scope}/actor")
            self.c_params = tf.get_collection(tf.GraphKeys.TRAINABLE_VARIABLES, scope=f"{scope}/critic")
            if globalAC is None:
                return
            opt_a, opt_c = optimizers
            self.a_his = tf.placeholder(tf.int32, [None], "A")
            self.v_target = tf.placeholder(tf.float32, [None, 1], "Vtarget")
            td = tf.subtract(self.v_target, self.v, name="TD_error")
            with tf.name_scope("c_loss"):
                self.c_loss = tf.reduce_mean(tf.square(td))
            with tf.name_scope("a_loss"):
                log_prob = tf.reduce_sum(
                    tf.log(self.a_prob + 1e-5) * tf.one_hot(self.a_his, 2, dtype=tf.float32),
                    axis=1, keep_dims=True,
                )  # fmt: skip
                exp_v = log_prob * tf.stop_gradient(td)
                entropy = -tf.reduce_sum(self.a_prob * tf.log(self.a_prob + 1e-5), axis=1, keep_dims=True)
                self.a_loss = tf.reduce_mean(-(0.01 * entropy + exp_v))
            with tf.name_scope("local_grad"):
                self.a_grads = tf.gradients(self.a_loss, self.a_params)
                self.c_grads = tf.gradients(self.c_loss, self.c_params)
            with tf.name_scope("pull"):
                self.pull_a = [p.assign(g) for p, g in zip(self.a_params, globalAC.a_params, strict=True)]
                self.pull_c = [p.assign(g) for p, g in zip(self.c_params, globalAC.c_params, strict=True)]
            with tf.name_scope("push"):
                self.push_a = opt_a.apply_gradients(zip(self.a_grads, globalAC.a_params, strict=True))
                self.push_c = opt_c.apply_gradients(zip(self.c_grads, globalAC.c_params, strict=True))


def work(sess, net, count, seed, lengths, coordinator):
    env, rng = Corridor(), np.random.default_rng(seed)
    try:
        for _ in range(EPISODES // WORKERS):
            s, done = env.reset(), False
            states, actions, rewards = [], [], []
            while not done:
                probabilities = sess.run(net.a_prob, {net.s: s[np.newaxis, :]})[0].astype(np.float64)
                a = int(rng.choice(2, p=probabilities / probabilities.sum()))
                states.append(s)
                actions.append(a)
                s, r, done = env.step(a)
                rewards.append(r)
            v_s_ = 0.0 if rewards[-1] > 0 else float(sess.run(net.v, {net.s: s[np.newaxis, :]})[0, 0])
            targets = []
            for r in rewards[::-1]:
                v_s_ = r + GAMMA * v_s_
                targets.append(v_s_)
            targets.reverse()
            # Rows up to a fixed number, so that one plan serves all episodes.
            rows = np.resize(np.arange(len(states)), 40)
            feed_dict = {
                net.s: np.vstack(states)[rows],
                net.a_his: np.array(actions)[rows],
                net.v_target: np.array(targets)[rows, np.newaxis],
            }
            sess.run([net.push_a, net.push_c], feed_dict)
            sess.run([net.pull_a, net.pull_c])
            sess.run(count)
            lengths.append(len(states))
    except BaseException as problem:  # told by the main thread
        coordinator.append(problem)
        raise


def test_threads_learn_together(device: str) -> None:
    with tf.Graph().as_default():
        tf.set_random_seed(2)
        opt_a = tf.train.RMSPropOptimizer(0.01, name="RMSPropA")
        opt_c = tf.train.RMSPropOptimizer(0.02, name="RMSPropC")
        global_net = ACNet("Global_Net")
        nets = [ACNet(f"W_{i}", global_net, (opt_a, opt_c)) for i in range(WORKERS)]
        episodes = tf.Variable(0, trainable=False)
        count = episodes.assign_add(1)
        lengths: list[int] = []
        problems: list[BaseException] = []
        with tf.Session(device=device) as sess:
            sess.run(tf.global_variables_initializer())
            threads = [
                threading.Thread(target=work, args=(sess, net, count, i, lengths, problems))
                for i, net in enumerate(nets)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert not problems
            # Every count is there, though the threads took turns as they liked.
            assert sess.run(episodes) == EPISODES
            policy = sess.run(global_net.a_prob, {global_net.s: np.eye(PLACES)})
    assert (policy[:-1, 1] > 0.7).all()
    # The shortest way takes 5 steps; a walk at random some 20.
    assert np.mean(lengths[:15]) > 2 * np.mean(lengths[-15:]) and np.mean(lengths[-15:]) < 8
