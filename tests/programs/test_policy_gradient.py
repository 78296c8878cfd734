"""REINFORCE on the balancing of a pole: discounted returns weigh the log-likelihood of actions."""

from __future__ import annotations

import functools

import numpy as np
from program_data import assert_same_curve

import graphrun as tf

ITERATIONS, EPISODES, LONGEST, GAMMA = 25, 8, 100, 0.97


class Pole:
    """A pole on a cart, by the usual equations; an episode ends when it leans or the cart is too far out."""

    def __init__(self, rng):
        self.rng = rng

    def reset(self):
        self.state = self.rng.uniform(-0.05, 0.05, 4)
        return self.state.copy()

    def step(self, action):
        x, v, angle, spin = self.state
        force = 10.0 if action == 1 else -10.0
        push = (force + 0.05 * spin**2 * np.sin(angle)) / 1.1
        turn = (9.8 * np.sin(angle) - np.cos(angle) * push) / (0.5 * (4 / 3 - 0.1 * np.cos(angle) ** 2 / 1.1))
        pull = push - 0.05 * turn * np.cos(angle) / 1.1
        self.state = np.array([x + 0.02 * v, v + 0.02 * pull, angle + 0.02 * spin, spin + 0.02 * turn])
        return self.state.copy(), 1.0, bool(abs(self.state[0]) > 2.4 or abs(self.state[2]) > 0.21)


def discount_rewards(rewards):
    running, discounted = 0.0, np.zeros(len(rewards))
    for t in reversed(range(len(rewards))):
        running = running * GAMMA + rewards[t]
        discounted[t] = running
    return discounted


@functools.cache
def trained(device: str) -> tuple[list[float], list[float]]:
    rng = np.random.default_rng(0)
    env = Pole(rng)
    with tf.Graph().as_default():
        tf.set_random_seed(4)
        observations = tf.placeholder(tf.float32, [None, 4], name="observations")
        actions = tf.placeholder(tf.int32, [None], name="actions")
        advantages = tf.placeholder(tf.float32, [None], name="advantages")
        W1 = tf.get_variable("W1", shape=[4, 16], initializer=tf.glorot_uniform_initializer())
        layer1 = tf.nn.tanh(tf.matmul(observations, W1))
        W2 = tf.get_variable("W2", shape=[16, 2], initializer=tf.glorot_uniform_initializer())
        logits = tf.matmul(layer1, W2)
        probability = tf.nn.softmax(logits)
        neg_log_prob = tf.nn.sparse_softmax_cross_entropy_with_logits(logits=logits, labels=actions)
        chosen = tf.reduce_sum(tf.log(probability) * tf.one_hot(actions, 2), axis=1)
        loss = tf.reduce_mean(neg_log_prob * advantages)
        tvars = tf.trainable_variables()
        optimizer = tf.train.AdamOptimizer(learning_rate=0.02)
        # Gradients leave the graph, are summed over episodes, and come back by placeholders.
        grads = tf.gradients(loss, tvars)
        holders = [tf.placeholder(tf.float32, shape=v.get_shape(), name=v.op.name + "_grad") for v in tvars]
        update = optimizer.apply_gradients(zip(holders, tvars))

        losses, lengths = [], []
        with tf.Session(device=device) as sess:
            sess.run(tf.global_variables_initializer())
            for _ in range(ITERATIONS):
                seen, done, taken, returns, counts = [], [], [], [], []
                for _ in range(EPISODES):
                    observation, rewards, over = env.reset(), [], False
                    while not over and len(rewards) < LONGEST:
                        p = sess.run(probability, {observations: [observation]})[0]
                        action = int(rng.uniform() < p[1])
                        seen.append(observation)
                        taken.append(action)
                        observation, reward, over = env.step(action)
                        rewards.append(reward)
                    returns.append(discount_rewards(rewards))
                    counts.append(len(rewards))
                flat = np.concatenate(returns)
                flat = (flat - flat.mean()) / flat.std()
                buffer = [np.zeros(v.shape.as_list(), np.float32) for v in tvars]
                first, total = 0, 0.0
                for count in counts:
                    part = slice(first, first + count)
                    feed = {observations: np.array(seen[part]), actions: taken[part], advantages: flat[part]}
                    value, gradient, one, other = sess.run([loss, grads, chosen, neg_log_prob], feed)
                    np.testing.assert_allclose(one, -other, rtol=1e-4, atol=1e-5)
                    total += float(value)
                    for b, g in zip(buffer, gradient):
                        b += g
                    first += count
                sess.run(update, feed_dict=dict(zip(holders, buffer)))
                losses.append(total)
                lengths.append(float(np.mean(counts)))
                assert not done
            return losses, lengths


def test_the_pole_stays_up_longer(device: str) -> None:
    losses, lengths = trained(device)
    assert np.mean(lengths[:3]) < 40
    assert np.mean(lengths[-5:]) > 70
    # An action is drawn by comparing a probability with a random number: rounding may turn one, much later.
    expected, steps = trained("cpu:0")
    assert_same_curve(losses[:5], expected[:5], first=5, early=1e-3, late=1e-3)
    assert lengths[:5] == steps[:5]
