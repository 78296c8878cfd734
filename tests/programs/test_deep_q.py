"""Deep Q-learning on a corridor: replay memory, a target net that is copied by tf.assign, double Q-values."""

from __future__ import annotations

import functools
from collections import deque

import numpy as np
from program_data import assert_same_curve

import graphrun as tf

LENGTH, EPISODES, LONGEST = 8, 60, 40


class Corridor:
    """Walk from one end to the other: a reward of 1 at the far end, and a small one for giving up at once."""

    n_actions = 2

    def reset(self):
        self.place, self.steps = 1, 0
        return self.seen()

    def seen(self):
        return np.eye(LENGTH, dtype=np.float32)[self.place]

    def step(self, action):
        self.place += 1 if action == 1 else -1
        self.steps += 1
        if self.place == LENGTH - 1:
            return self.seen(), 1.0, True
        if self.place == 0:
            return self.seen(), 0.1, True
        return self.seen(), 0.0, self.steps >= LONGEST


class DeepQNetwork:
    def __init__(self, n_actions, n_features, session, learning_rate=0.01, reward_decay=0.95,
                 replace_target_iter=25, memory_size=400, batch_size=32):  # fmt: skip
        self.n_actions, self.n_features, self.gamma = n_actions, n_features, reward_decay
        self.lr, self.batch_size, self.sess = learning_rate, batch_size, session
        self.replace_target_iter, self.learn_step_counter = replace_target_iter, 0
        self.memory = deque(maxlen=memory_size)
        self.rng = np.random.default_rng(3)
        self.cost_his = []
        self._build_net()
        t_params = tf.get_collection(tf.GraphKeys.GLOBAL_VARIABLES, scope="target_net")
        e_params = tf.get_collection(tf.GraphKeys.GLOBAL_VARIABLES, scope="eval_net")
        with tf.variable_scope("soft_replacement"):
            self.replace_target_op = [tf.assign(t, e) for t, e in zip(t_params, e_params)]
        self.params = t_params, e_params

    def _build_net(self):
        self.s = tf.placeholder(tf.float32, [None, self.n_features], name="s")
        self.s_ = tf.placeholder(tf.float32, [None, self.n_features], name="s_")
        self.r = tf.placeholder(tf.float32, [None], name="r")
        self.a = tf.placeholder(tf.int32, [None], name="a")
        self.end = tf.placeholder(tf.float32, [None], name="end")
        w_initializer, b_initializer = tf.random_normal_initializer(0.0, 0.3), tf.constant_initializer(0.1)

        def net(s, scope, trainable):
            with tf.variable_scope(scope):
                layer = tf.layers.dense(
                    s, 20, tf.nn.relu, kernel_initializer=w_initializer, bias_initializer=b_initializer,
                    name="e1", trainable=trainable,
                )  # fmt: skip
                return tf.layers.dense(
                    layer, self.n_actions, kernel_initializer=w_initializer,
                    bias_initializer=b_initializer, name="q", trainable=trainable,
                )  # fmt: skip

        self.q_eval = net(self.s, "eval_net", True)
        self.q_next = net(self.s_, "target_net", False)
        with tf.variable_scope("q_target"):
            q_target = self.r + self.gamma * (1 - self.end) * tf.reduce_max(self.q_next, axis=1)
            self.q_target = tf.stop_gradient(q_target)
        with tf.variable_scope("q_eval"):
            a_indices = tf.stack([tf.range(tf.shape(self.a)[0], dtype=tf.int32), self.a], axis=1)
            self.q_eval_wrt_a = tf.gather_nd(params=self.q_eval, indices=a_indices)
        with tf.variable_scope("loss"):
            self.loss = tf.reduce_mean(
                tf.squared_difference(self.q_target, self.q_eval_wrt_a, name="TD_error")
            )
        with tf.variable_scope("train"):
            self._train_op = tf.train.RMSPropOptimizer(self.lr).minimize(self.loss)

    def choose_action(self, observation, epsilon):
        if self.rng.uniform() < epsilon:
            return int(self.rng.integers(0, self.n_actions))
        return int(np.argmax(self.sess.run(self.q_eval, feed_dict={self.s: observation[np.newaxis, :]})))

    def learn(self):
        if self.learn_step_counter % self.replace_target_iter == 0:
            self.sess.run(self.replace_target_op)
        chosen = self.rng.integers(0, len(self.memory), self.batch_size)
        s, a, r, s_, end = zip(*(self.memory[i] for i in chosen))
        _, cost = self.sess.run(
            [self._train_op, self.loss],
            feed_dict={self.s: s, self.a: a, self.r: r, self.s_: np.array(s_), self.end: end},
        )
        self.cost_his.append(float(cost))
        self.learn_step_counter += 1


@functools.cache
def trained(device: str) -> tuple[list[float], list[float], np.ndarray]:
    env = Corridor()
    with tf.Graph().as_default(), tf.Session(device=device) as sess:
        tf.set_random_seed(1)
        agent = DeepQNetwork(env.n_actions, LENGTH, sess)
        assert len(tf.trainable_variables()) == 4
        sess.run(tf.global_variables_initializer())
        rewards = []
        for episode in range(EPISODES):
            observation, done, total = env.reset(), False, 0.0
            while not done:
                action = agent.choose_action(observation, epsilon=max(0.05, 1 - episode / 40))
                observation_, reward, done = env.step(action)
                agent.memory.append((observation, action, reward, observation_, float(done)))
                observation, total = observation_, total + reward
                if len(agent.memory) >= 50:
                    agent.learn()
            rewards.append(total)
        sess.run(agent.replace_target_op)
        for target, evaluated in zip(*sess.run(agent.params), strict=True):
            np.testing.assert_array_equal(target, evaluated)
        values = sess.run(agent.q_eval, {agent.s: np.eye(LENGTH)[1:-1]})
        return agent.cost_his, rewards, values


def test_the_agent_walks_to_the_far_end(device: str) -> None:
    costs, rewards, values = trained(device)
    assert np.mean(rewards[-10:]) > 0.9
    assert np.all(values[:, 1] > values[:, 0])
    # What the far end is worth from each place, discounted by the steps to it.
    exact = 0.95 ** np.arange(LENGTH - 3, -1, -1)
    np.testing.assert_allclose(values[:, 1], exact, atol=0.15)
    # Actions are chosen by comparing values, so two runs part where rounding decides a draw.
    expected, _, _ = trained("cpu:0")
    assert_same_curve(costs[:200], expected[:200], first=50, early=1e-3, late=2e-2)
