"""A cell, an optimizer and a layer of the user's own, by subclass."""

from __future__ import annotations

import functools

import numpy as np
from program_data import assert_same_curve, batches, digits

import graphrun as tf


class MinimalRNNCell(tf.nn.rnn_cell.RNNCell):
    """A gate between the old state and what the input says, nothing else."""

    def __init__(self, num_units, reuse=None):
        super().__init__(_reuse=reuse)
        self._num_units = num_units

    @property
    def state_size(self):
        return self._num_units

    @property
    def output_size(self):
        return self._num_units

    def __call__(self, inputs, state, scope=None):
        with tf.variable_scope(scope or type(self).__name__):
            with tf.variable_scope("Candidate"):
                w = tf.get_variable("W", [inputs.get_shape()[1].value, self._num_units])
                z = tf.tanh(tf.matmul(inputs, w))
            with tf.variable_scope("Gate"):
                both = tf.concat(axis=1, values=[z, state])
                w = tf.get_variable("W", [2 * self._num_units, self._num_units])
                b = tf.get_variable("b", [self._num_units], initializer=tf.constant_initializer(1.0))
                u = tf.sigmoid(tf.nn.bias_add(tf.matmul(both, w), b))
            new_h = u * state + (1.0 - u) * z
        return new_h, new_h


class PowerSign(tf.train.Optimizer):
    """Steps are larger where the gradient has the sign of its average."""

    def __init__(self, learning_rate=0.01, base=2.0, beta=0.9, use_locking=False, name="PowerSign"):
        super().__init__(use_locking, name)
        self._lr, self._base, self._beta = learning_rate, base, beta

    def _prepare(self):
        self._lr_t = tf.convert_to_tensor(self._lr, name="learning_rate")
        self._log_base = tf.log(tf.convert_to_tensor(self._base, name="base"))

    def _create_slots(self, var_list):
        for v in var_list:
            self._zeros_slot(v, "m", self._name)

    def _apply_dense(self, grad, var):
        lr_t = tf.cast(self._lr_t, var.dtype.base_dtype)
        m = self.get_slot(var, "m")
        m_t = m.assign(self._beta * m + (1.0 - self._beta) * grad)
        factor = tf.exp(self._log_base * tf.sign(grad) * tf.sign(m_t))
        var_update = tf.assign_sub(var, lr_t * factor * grad)
        return tf.group(*[var_update, m_t])


class ScaledDense(tf.layers.Layer):
    """Weight normalization: a direction and a length for each column."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        rows = int(input_shape[-1])
        self.v = self.add_variable("v", [rows, self.units], initializer=tf.glorot_uniform_initializer())
        self.g = self.add_variable("g", [self.units], initializer=tf.ones_initializer())
        self.b = self.add_variable("b", [self.units], initializer=tf.zeros_initializer())
        self.built = True

    def call(self, inputs):
        return tf.matmul(inputs, self.g * tf.nn.l2_normalize(self.v, 0)) + self.b


@functools.cache
def trained(device: str) -> tuple[list[float], float]:
    train_x, train_y, test_x, test_y = digits()
    with tf.Graph().as_default():
        tf.set_random_seed(5)
        x = tf.placeholder(tf.float32, [None, 8, 8], name="rows")
        y = tf.placeholder(tf.int32, [None], name="labels")
        outputs, state = tf.nn.dynamic_rnn(MinimalRNNCell(32), x, dtype=tf.float32, scope="rnn")
        layer = ScaledDense(10, name="scores")
        # Applied twice, with one set of variables.
        logits = layer(state)
        each = layer(tf.reshape(outputs, [-1, 32]))
        assert [v.name for v in tf.trainable_variables()] == [
            "rnn/MinimalRNNCell/Candidate/W:0", "rnn/MinimalRNNCell/Gate/W:0", "rnn/MinimalRNNCell/Gate/b:0",
            "scores/v:0", "scores/g:0", "scores/b:0",
        ]  # fmt: skip
        assert layer.trainable_weights == tf.trainable_variables()[3:]
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits))
        # What the scores say earlier counts a little, too.
        every = tf.reshape(tf.tile(tf.expand_dims(y, 1), [1, 8]), [-1])
        loss += 0.1 * tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels=every, logits=each)
        )
        optimizer = PowerSign(0.2)
        train_op = optimizer.minimize(loss, global_step=tf.train.get_or_create_global_step())
        assert optimizer.get_slot_names() == ["m"]
        assert optimizer.get_slot(layer.g, "m").name == "scores/g/PowerSign:0"
        accuracy = tf.reduce_mean(tf.to_float(tf.equal(tf.argmax(logits, 1, output_type=tf.int32), y)))

        losses = []
        with tf.Session(device=device) as sess:
            sess.run(tf.global_variables_initializer())
            for xs, ys in batches((train_x.reshape(-1, 8, 8), train_y.argmax(1)), 50, 15):
                losses.append(float(sess.run([loss, train_op], {x: xs, y: ys})[0]))
            return losses, float(sess.run(accuracy, {x: test_x.reshape(-1, 8, 8), y: test_y.argmax(1)}))


def test_classes_of_ones_own_train(device: str) -> None:
    losses, accuracy = trained(device)
    assert accuracy > 0.85 and np.mean(losses[-20:]) < 0.4 * losses[0]
    # Steps depend on signs: where a gradient is almost 0, devices may go other ways.
    assert_same_curve(losses, trained("cpu:0")[0], first=20, early=1e-3, late=5e-2)
