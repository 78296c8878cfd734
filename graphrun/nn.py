"""Building blocks of neural networks: activations, losses, convolutions, normalization.

>>> import graphrun as gr
>>> gr.nn.relu(gr.zeros([2, 3])).shape.as_list()
[2, 3]
"""

from graphrun.ops.array import embedding_lookup as embedding_lookup
from graphrun.ops.blocks import depth_to_space as depth_to_space
from graphrun.ops.blocks import space_to_batch as space_to_batch
from graphrun.ops.blocks import space_to_depth as space_to_depth
from graphrun.ops.candidates import all_candidate_sampler as all_candidate_sampler
from graphrun.ops.candidates import compute_accidental_hits as compute_accidental_hits
from graphrun.ops.candidates import fixed_unigram_candidate_sampler as fixed_unigram_candidate_sampler
from graphrun.ops.candidates import learned_unigram_candidate_sampler as learned_unigram_candidate_sampler
from graphrun.ops.candidates import log_uniform_candidate_sampler as log_uniform_candidate_sampler
from graphrun.ops.candidates import uniform_candidate_sampler as uniform_candidate_sampler
from graphrun.ops.conv import conv2d as conv2d
from graphrun.ops.conv import conv2d_backprop_filter as conv2d_backprop_filter
from graphrun.ops.conv import conv2d_backprop_input as conv2d_backprop_input
from graphrun.ops.conv import conv2d_transpose as conv2d_transpose
from graphrun.ops.conv3d import conv3d as conv3d
from graphrun.ops.conv3d import conv3d_backprop_filter as conv3d_backprop_filter
from graphrun.ops.conv3d import conv3d_transpose as conv3d_transpose
from graphrun.ops.conv_ranks import atrous_conv2d as atrous_conv2d
from graphrun.ops.conv_ranks import atrous_conv2d_transpose as atrous_conv2d_transpose
from graphrun.ops.conv_ranks import conv1d as conv1d
from graphrun.ops.conv_ranks import conv1d_transpose as conv1d_transpose
from graphrun.ops.conv_ranks import conv_transpose as conv_transpose
from graphrun.ops.conv_ranks import convolution as convolution
from graphrun.ops.cross_entropy import (
    sigmoid_cross_entropy_with_logits as sigmoid_cross_entropy_with_logits,
)
from graphrun.ops.cross_entropy import (
    softmax_cross_entropy_with_logits as softmax_cross_entropy_with_logits,
)
from graphrun.ops.cross_entropy import (
    softmax_cross_entropy_with_logits_v2 as softmax_cross_entropy_with_logits_v2,
)
from graphrun.ops.cross_entropy import (
    sparse_softmax_cross_entropy_with_logits as sparse_softmax_cross_entropy_with_logits,
)
from graphrun.ops.cross_entropy import (
    weighted_cross_entropy_with_logits as weighted_cross_entropy_with_logits,
)
from graphrun.ops.ctc import ctc_beam_search_decoder as ctc_beam_search_decoder
from graphrun.ops.ctc import ctc_beam_search_decoder_v2 as ctc_beam_search_decoder_v2
from graphrun.ops.ctc import ctc_greedy_decoder as ctc_greedy_decoder
from graphrun.ops.ctc import ctc_loss as ctc_loss
from graphrun.ops.ctc import ctc_loss_v2 as ctc_loss_v2
from graphrun.ops.depthwise import depthwise_conv2d as depthwise_conv2d
from graphrun.ops.depthwise import depthwise_conv2d_backprop_filter as depthwise_conv2d_backprop_filter
from graphrun.ops.depthwise import depthwise_conv2d_backprop_input as depthwise_conv2d_backprop_input
from graphrun.ops.depthwise import depthwise_conv2d_native as depthwise_conv2d_native
from graphrun.ops.depthwise import (
    depthwise_conv2d_native_backprop_filter as depthwise_conv2d_native_backprop_filter,
)
from graphrun.ops.depthwise import (
    depthwise_conv2d_native_backprop_input as depthwise_conv2d_native_backprop_input,
)
from graphrun.ops.depthwise import separable_conv2d as separable_conv2d
from graphrun.ops.elementwise import sigmoid as sigmoid
from graphrun.ops.elementwise import softplus as softplus
from graphrun.ops.elementwise import tanh as tanh
from graphrun.ops.embedding_sparse import embedding_lookup_sparse as embedding_lookup_sparse
from graphrun.ops.embedding_sparse import safe_embedding_lookup_sparse as safe_embedding_lookup_sparse
from graphrun.ops.lrn import local_response_normalization as local_response_normalization
from graphrun.ops.lrn import lrn as lrn
from graphrun.ops.morphology import dilation2d as dilation2d
from graphrun.ops.morphology import erosion2d as erosion2d
from graphrun.ops.nn import bias_add as bias_add
from graphrun.ops.nn import crelu as crelu
from graphrun.ops.nn import dropout as dropout
from graphrun.ops.nn import elu as elu
from graphrun.ops.nn import l2_loss as l2_loss
from graphrun.ops.nn import leaky_relu as leaky_relu
from graphrun.ops.nn import log_softmax as log_softmax
from graphrun.ops.nn import relu as relu
from graphrun.ops.nn import relu6 as relu6
from graphrun.ops.nn import relu_layer as relu_layer
from graphrun.ops.nn import selu as selu
from graphrun.ops.nn import softmax as softmax
from graphrun.ops.nn import softsign as softsign
from graphrun.ops.nn import swish as swish
from graphrun.ops.nn import xw_plus_b as xw_plus_b
from graphrun.ops.nn import zero_fraction as zero_fraction
from graphrun.ops.normalization import (
    batch_norm_with_global_normalization as batch_norm_with_global_normalization,
)
from graphrun.ops.normalization import batch_normalization as batch_normalization
from graphrun.ops.normalization import fused_batch_norm as fused_batch_norm
from graphrun.ops.normalization import l2_normalize as l2_normalize
from graphrun.ops.normalization import moments as moments
from graphrun.ops.normalization import weighted_moments as weighted_moments
from graphrun.ops.pool import avg_pool as avg_pool
from graphrun.ops.pool import avg_pool2d as avg_pool2d
from graphrun.ops.pool import max_pool as max_pool
from graphrun.ops.pool import max_pool2d as max_pool2d
from graphrun.ops.pool_ranks import avg_pool1d as avg_pool1d
from graphrun.ops.pool_ranks import avg_pool3d as avg_pool3d
from graphrun.ops.pool_ranks import max_pool1d as max_pool1d
from graphrun.ops.pool_ranks import max_pool3d as max_pool3d
from graphrun.ops.pool_ranks import max_pool_with_argmax as max_pool_with_argmax
from graphrun.ops.pool_ranks import pool as pool
from graphrun.ops.ranking import in_top_k as in_top_k
from graphrun.ops.ranking import top_k as top_k
from graphrun.ops.sampled_losses import nce_loss as nce_loss
from graphrun.ops.sampled_losses import sampled_softmax_loss as sampled_softmax_loss
from graphrun.rnn import rnn_cell as rnn_cell
from graphrun.rnn.dynamic import bidirectional_dynamic_rnn as bidirectional_dynamic_rnn
from graphrun.rnn.dynamic import dynamic_rnn as dynamic_rnn
from graphrun.rnn.raw import raw_rnn as raw_rnn
from graphrun.rnn.unrolled import static_bidirectional_rnn as static_bidirectional_rnn
from graphrun.rnn.unrolled import static_rnn as static_rnn
from graphrun.rnn.unrolled import static_state_saving_rnn as static_state_saving_rnn
