"""Names of TensorFlow 1 that graphrun does not have, and what to do instead; see `absent`.

A row that is left behind when a name has come does no harm: only names that are not there are looked up.
"""

from __future__ import annotations

_SAVE = (
    "instead: keep what a run returns, as in np.savez(file, *session.run(gr.global_variables())),"
    " and put each array back by v.load(array, session)"
)
_FEED = "instead: read the data in Python (a generator, NumPy), and feed the arrays in feed_dict"
_SUMMARY = "instead: fetch the value, and write or plot what session.run returns"
_THREADS = "instead: leave it out; batches are fed in feed_dict, so no queue and no thread is needed"
_LOOP = "instead: a gr.Session, and a loop of Python around session.run"
_IMAGES = "instead: decode the image in Python (Pillow, imageio), and feed the array"
_FILES = "instead: gr.gfile, or Python's own open, os and glob; feed what was read"
_ONE_MACHINE = "graphrun runs in one process; `with gr.device(...)` places operations on its devices"
_GRAPHS = "instead: build the graph by the code that made it; v.load(array, session) restores its state"
_TRACE = "instead: session.plan(fetches, feeds) shows steps, launches, bytes and peak memory"
_V2 = "leave it out: graphrun is TensorFlow 1's manner alone; graphs are defined, then run"
_EAGER = "graphs are defined, then run: session.run(x) gives the value of x"
_CONTRIB = (
    "much of it has a name elsewhere: contrib.rnn is gr.nn.rnn_cell, contrib.layers.xavier_initializer is"
    " gr.glorot_uniform_initializer, contrib.layers.fully_connected is gr.layers.dense,"
    " contrib.layers.l2_regularizer is gr.regularizers.l2_regularizer"
)

# Everything at or below these names.
PREFIXES: dict[str, str] = {
    "contrib": _CONTRIB,
    "data": _FEED,
    "distribute": _ONE_MACHINE,
    "distributions": "instead: gr.random_normal and its relatives draw; write the log density as operations",
    "estimator": _LOOP,
    "feature_column": "instead: make the columns with NumPy or pandas, gr.one_hot, gr.nn.embedding_lookup",
    "gfile": _FILES,
    "io": _FILES,
    "keras": "instead: gr.layers, gr.train and session.run",
    "lite": _GRAPHS,
    "profiler": _TRACE,
    "python_io": _FEED,
    "queue": _THREADS,
    "saved_model": _SAVE,
    "summary": _SUMMARY,
    "tpu": _ONE_MACHINE,
    "compat": "graphrun's names are those of tf.compat.v1: gr.placeholder for tf.compat.v1.placeholder",
    "test": "instead: pytest or unittest, and np.testing.assert_allclose of what session.run returns",
}

_GROUPS: list[tuple[str, str]] = [
    (_SAVE, """
        train.Saver train.Checkpoint train.CheckpointManager train.NewCheckpointReader
        train.CheckpointSaverHook train.CheckpointSaverListener
        train.checkpoint_exists train.checkpoints_iterator train.get_checkpoint_mtimes
        train.get_checkpoint_state train.init_from_checkpoint train.latest_checkpoint train.list_variables
        train.load_checkpoint train.load_variable train.remove_checkpoint train.update_checkpoint_state
        train.warm_start train.generate_checkpoint_state_proto
    """),
    (_FEED, """
        FixedLenFeature FixedLenSequenceFeature VarLenFeature SparseFeature FixedLengthRecordReader
        IdentityReader LMDBReader ReaderBase TFRecordReader TextLineReader WholeFileReader parse_example
        parse_single_example parse_single_sequence_example parse_tensor decode_csv decode_json_example
        train.Example train.SequenceExample train.Feature train.FeatureList train.FeatureLists
        train.Features train.BytesList train.FloatList train.Int64List train.batch train.batch_join
        train.maybe_batch train.maybe_batch_join train.maybe_shuffle_batch train.maybe_shuffle_batch_join
        train.shuffle_batch train.shuffle_batch_join train.input_producer train.range_input_producer
        train.slice_input_producer train.string_input_producer train.limit_epochs
        train.match_filenames_once
    """),
    (_FILES, "read_file write_file matching_files"),
    (_SUMMARY, "Summary train.summary_iterator train.SummarySaverHook merge_all_summaries scalar_summary"),
    (_THREADS, """
        FIFOQueue PaddingFIFOQueue PriorityQueue QueueBase RandomShuffleQueue
        train.QueueRunner train.add_queue_runner train.queue_runner train.start_queue_runners
    """),
    (_LOOP, """
        train.Supervisor train.SessionManager train.WorkerSessionCreator train.ProfilerHook
        train.basic_train_loop
    """),
    (_IMAGES, """
        image.decode_and_crop_jpeg image.decode_bmp image.decode_gif image.decode_image image.decode_jpeg
        image.decode_png image.encode_jpeg image.encode_png image.extract_jpeg_shape image.is_jpeg
    """),
    (_ONE_MACHINE, """
        DeviceSpec train.ClusterDef train.ClusterSpec train.JobDef train.Server train.ServerDef
        train.SyncReplicasOptimizer train.replica_device_setter colocate_with
    """),
    (_GRAPHS, """
        GraphDef MetaGraphDef NodeDef import_graph_def train.import_meta_graph train.export_meta_graph
        train.write_graph graph_util.convert_variables_to_constants graph_util.extract_sub_graph
        graph_util.remove_training_nodes graph_util
    """),
    (_TRACE, "RunMetadata RunOptions"),
    (_V2, """
        disable_control_flow_v2 disable_resource_variables
        disable_tensor_equality disable_v2_tensorshape enable_resource_variables enable_control_flow_v2
    """),
    (_EAGER, """
        enable_eager_execution enable_v2_behavior executing_eagerly_outside_functions
        GradientTape function py_function init_scope
    """),
    ("instead: gr.Print(x, [x]), which passes x on", "print"),
    ("instead: gr.py_func with the same function, or gr.custom_op", "load_op_library load_library"),
    ("instead: a dictionary of Python while the data is read, and gr.gather in the graph", "lookup"),
    ("instead: Python's own logging", "get_logger"),
    ("instead: gr.slice and gr.image.resize_images of each box", "image.crop_and_resize"),
    ("instead: NumPy between two runs, on the boxes and scores that the first returns", """
        image.non_max_suppression image.non_max_suppression_overlaps image.non_max_suppression_padded
        image.non_max_suppression_with_scores image.combined_non_max_suppression
    """),
    ("instead: gr.image.psnr, or gr.nn.avg_pool of a, b, a * a, b * b and a * b for the moments of SSIM",
     "image.ssim image.ssim_multiscale"),
    ("leave it out: variables are whole; gr.nn.embedding_lookup takes several parts as a list", """
        fixed_size_partitioner min_max_variable_partitioner variable_axis_size_partitioner
        create_partitioned_variables
    """),
    ("instead: gr.matrix_band_part(x, -1, 0) is the lower triangle of x", """
        linalg.LinearOperatorLowerTriangular
    """),
    ("instead: gr.control_dependencies of gr.Assert(gr.is_variable_initialized(v), [v.name])",
     "assert_variables_initialized"),
    ("instead: gr.float16 is there", "bfloat16 dtypes.bfloat16 to_bfloat16"),
]  # fmt: skip

# By the name that TensorFlow has it under, what graphrun has for it.
_SAME = {
    "Assert": "gr.Assert", "all_variables": "gr.global_variables", "debugging.Assert": "gr.Assert",
    "image.extract_patches": "gr.extract_image_patches", "image.transpose": "gr.image.transpose_image",
    "image.resize": "gr.image.resize_images", "image.resize_with_crop_or_pad":
    "gr.image.resize_image_with_crop_or_pad", "initialize_all_variables": "gr.global_variables_initializer",
    "initialize_variables": "gr.variables_initializer", "lin_space": "gr.linspace",
    "linalg.einsum": "gr.einsum", "math.is_non_decreasing": "gr.is_non_decreasing",
    "math.is_strictly_increasing": "gr.is_strictly_increasing", "math.softplus": "gr.nn.softplus",
    "mul": "gr.multiply", "neg": "gr.negative", "nn.silu": "gr.nn.swish", "no_gradient": "gr.NoGradient",
    "pack": "gr.stack", "scalar_mul": "gr.multiply", "sub": "gr.subtract",
    "switch_case": "gr.case", "tensor_scatter_nd_add": "gr.tensor_scatter_add",
    "tensor_scatter_nd_max": "gr.tensor_scatter_max", "tensor_scatter_nd_min": "gr.tensor_scatter_min",
    "tensor_scatter_nd_sub": "gr.tensor_scatter_sub", "tensor_scatter_nd_update": "gr.tensor_scatter_update",
    "unpack": "gr.unstack", "vectorized_map": "gr.map_fn",
    "where_v2": "gr.where", "batch_matmul": "gr.matmul", "select": "gr.where", "concat_v2": "gr.concat",
}  # fmt: skip

ADVICE: dict[str, str] = {name: text for text, names in _GROUPS for name in names.split()}
ADVICE.update({name: f"instead: {ours}" for name, ours in _SAME.items()})

# The other names, by namespace: all that can be said of them is that they are not there.
_OTHERS = {
    "": """
        AggregationMethod ConditionalAccumulator ConditionalAccumulatorBase CriticalSection
        GRAPH_DEF_VERSION GRAPH_DEF_VERSION_MIN_CONSUMER GRAPH_DEF_VERSION_MIN_PRODUCER IndexedSlices
        IndexedSlicesSpec QUANTIZED_DTYPES RaggedTensor RaggedTensorSpec SparseConditionalAccumulator
        SparseTensorSpec TensorArraySpec TensorSpec TypeSpec VariableAggregation VariableSynchronization
        add_to_collections assert_variables_initialized audio autograph batch_scatter_update bitcast bitwise
        broadcast_dynamic_shape broadcast_static_shape container control_flow_v2_enabled conv
        conv2d_backprop_filter_v2 conv2d_backprop_input_v2 count_up_to
        create_partitioned_variables decode_compressed delete_session_tensor dequantize
        deserialize_many_sparse dimension_at_index dimension_value distributions enable_tensor_equality
        enable_v2_tensorshape extract_volume_patches fake_quant_with_min_max_args
        fake_quant_with_min_max_args_gradient fake_quant_with_min_max_vars
        fake_quant_with_min_max_vars_gradient fake_quant_with_min_max_vars_per_channel
        fake_quant_with_min_max_vars_per_channel_gradient fingerprint fixed_size_partitioner
        get_collection_ref get_local_variable get_session_handle get_session_tensor get_static_value
        grad_pass_through guarantee_const is_tensor is_variable_initialized load_file_system_library
        make_ndarray make_template make_tensor_proto manip matrix_square_root min_max_variable_partitioner
        nest no_regularizer parallel_stack qint16 qint32 qint8 quantization quantize quantize_v2
        quantized_concat quint16 quint8 ragged raw_ops recompute_grad report_uninitialized_variables
        required_space_to_batch_paddings resource resource_loader resource_variables_enabled
        serialize_many_sparse serialize_sparse serialize_tensor sets sparse_fill_empty_rows sparse_mask
        sparse_matmul sparse_maximum sparse_merge sparse_minimum sparse_reduce_max sparse_reduce_max_sparse
        sparse_reduce_sum_sparse sparse_reset_shape sparse_split sparse_to_indicator
        string_to_hash_bucket string_to_hash_bucket_fast string_to_hash_bucket_strong sysconfig timestamp
        to_complex128 to_complex64 tuple uint16 unravel_index variable_axis_size_partitioner
        variable_creator_scope variant wrap_function
    """,
    "debugging": """
        assert_shapes disable_check_numerics disable_traceback_filtering enable_check_numerics
        enable_traceback_filtering get_log_device_placement is_traceback_filtering_enabled
        set_log_device_placement
    """,
    "errors": """
        ABORTED ALREADY_EXISTS AlreadyExistsError CANCELLED DATA_LOSS DEADLINE_EXCEEDED DataLossError
        FAILED_PRECONDITION INTERNAL INVALID_ARGUMENT NOT_FOUND OK OUT_OF_RANGE PERMISSION_DENIED
        PermissionDeniedError RESOURCE_EXHAUSTED UNAUTHENTICATED UNAVAILABLE UNIMPLEMENTED UNKNOWN
        UnauthenticatedError UnimplementedError error_code_from_exception_type
        exception_type_from_error_code raise_exception_on_not_ok_status
    """,
    "image": """
        adjust_jpeg_quality combined_non_max_suppression crop_and_resize decode_jxl decode_webp
        extract_glimpse generate_bounding_box_proposals non_max_suppression non_max_suppression_overlaps
        non_max_suppression_padded non_max_suppression_with_scores psnr random_jpeg_quality rgb_to_yiq
        rgb_to_yuv sample_distorted_bounding_box sobel_edges ssim ssim_multiscale yiq_to_rgb yuv_to_rgb
    """,
    "linalg": """
        LinearOperator LinearOperatorAdjoint LinearOperatorBlockDiag LinearOperatorBlockLowerTriangular
        LinearOperatorCirculant LinearOperatorCirculant2D LinearOperatorCirculant3D
        LinearOperatorComposition LinearOperatorDiag LinearOperatorFullMatrix LinearOperatorHouseholder
        LinearOperatorIdentity LinearOperatorInversion LinearOperatorKronecker LinearOperatorLowRankUpdate
        LinearOperatorLowerTriangular LinearOperatorPermutation LinearOperatorScaledIdentity
        LinearOperatorToeplitz LinearOperatorTridiag LinearOperatorZeros eigh_tridiagonal expm logm lu
        lu_matrix_inverse lu_reconstruct lu_solve matrix_rank normalize pinv sqrtm tridiagonal_matmul
        tridiagonal_solve
    """,
    "math": """
        bessel_i0 bessel_i0e bessel_i1 bessel_i1e cumulative_logsumexp erfcinv multiply_no_nan nextafter
        polyval reciprocal_no_nan scalar_mul sobol_sample special xlog1py
    """,
    "metrics": """
        average_precision_at_k false_negatives_at_thresholds false_positives_at_thresholds
        mean_cosine_distance mean_iou mean_per_class_accuracy mean_relative_error mean_tensor
        percentage_below precision_at_k precision_at_thresholds precision_at_top_k recall_at_k
        recall_at_thresholds recall_at_top_k sensitivity_at_specificity sparse_average_precision_at_k
        sparse_precision_at_k specificity_at_sensitivity true_negatives_at_thresholds
        true_positives_at_thresholds
    """,
    "nn": """
        avg_pool_v2 batch_norm_with_global_normalization collapse_repeated compute_average_loss
        conv3d_backprop_filter_v2 ctc_beam_search_decoder ctc_beam_search_decoder_v2 ctc_greedy_decoder
        ctc_loss ctc_loss_v2 ctc_unique_labels dilation2d erosion2d
        fractional_avg_pool fractional_max_pool fused_batch_norm log_poisson_loss max_pool_v2
        normalize_moments quantized_avg_pool quantized_conv2d quantized_max_pool quantized_relu_x
        scale_regularization_loss sufficient_statistics with_space_to_batch
    """,
    "random": """
        Algorithm Generator all_candidate_sampler create_rng_state fixed_unigram_candidate_sampler fold_in
        get_global_generator learned_unigram_candidate_sampler log_uniform_candidate_sampler
        set_global_generator split stateless_binomial stateless_categorical stateless_gamma
        stateless_multinomial stateless_normal stateless_parameterized_truncated_normal stateless_poisson
        stateless_truncated_normal stateless_uniform uniform_candidate_sampler
    """,
    "signal": """
        dct fftshift frame hamming_window hann_window idct ifftshift inverse_mdct inverse_stft
        inverse_stft_window_fn irfft3d kaiser_bessel_derived_window kaiser_window
        linear_to_mel_weight_matrix mdct mfccs_from_log_mel_spectrograms overlap_and_add rfft3d stft
        vorbis_window
    """,
    "sparse": """
        SparseConditionalAccumulator bincount cross cross_hashed expand_dims eye fill_empty_rows mask
        maximum merge minimum reduce_max reduce_max_sparse reduce_sum_sparse reset_shape split
        to_indicator
    """,
    "strings": """
        bytes_split format ngrams to_hash_bucket to_hash_bucket_fast to_hash_bucket_strong unicode_decode
        unicode_decode_with_offsets unicode_encode unicode_script unicode_split unicode_split_with_offsets
        unicode_transcode unsorted_segment_join
    """,
    "train": """
        AdagradDAOptimizer CheckpointOptions NanLossDuringTrainingError ProximalAdagradOptimizer
        ProximalGradientDescentOptimizer SaverDef VocabInfo cosine_decay_restarts
        do_quantize_training_on_graphdef linear_cosine_decay noisy_linear_cosine_decay sdca_fprint
        sdca_optimizer sdca_shrink_l1
    """,
}
KNOWN = frozenset(
    f"{namespace}.{name}" if namespace else name
    for namespace, names in _OTHERS.items()
    for name in names.split()
)

# What users of PyTorch, Keras and NumPy write for things that are there under TensorFlow 1's names.
ELSEWHERE: dict[str, str] = {
    "randn": "gr.random_normal(shape)", "rand": "gr.random_uniform(shape)",
    "randint": "gr.random_uniform(shape, low, high, gr.int32)", "tensor": "gr.constant(value)",
    "array": "gr.constant(value)", "from_numpy": "gr.constant(array), or a feed", "arange": "gr.range",
    "cat": "gr.concat(values, axis)", "permute": "gr.transpose", "mm": "gr.matmul", "bmm": "gr.matmul",
    "clamp": "gr.clip_by_value", "no_grad": "gr.stop_gradient(x)", "grad": "gr.gradients(y, x)",
    "vmap": "gr.map_fn", "jit": "gr.function or gr.trace", "optim": "gr.train", "optimizers": "gr.train",
    "nn.Linear": "gr.layers.dense", "nn.Conv2d": "gr.layers.conv2d", "nn.Module": "gr.layers.Layer",
    "nn.LSTM": "gr.nn.rnn_cell.LSTMCell with gr.nn.dynamic_rnn",
    "nn.GRU": "gr.nn.rnn_cell.GRUCell with gr.nn.dynamic_rnn",
    "nn.Embedding": "gr.nn.embedding_lookup", "nn.Dropout": "gr.layers.dropout",
    "nn.BatchNorm2d": "gr.layers.batch_normalization",
    "nn.CrossEntropyLoss": "gr.losses.sparse_softmax_cross_entropy",
    "nn.MSELoss": "gr.losses.mean_squared_error", "nn.functional": "gr.nn", "nn.init": "gr.initializers",
    "train.SGD": "gr.train.GradientDescentOptimizer", "train.Adam": "gr.train.AdamOptimizer",
    "train.RMSprop": "gr.train.RMSPropOptimizer", "train.Adagrad": "gr.train.AdagradOptimizer",
    "layers.Linear": "gr.layers.Dense", "layers.LSTM": "gr.nn.rnn_cell.LSTMCell with gr.nn.dynamic_rnn",
    "layers.Embedding": "gr.nn.embedding_lookup", "layers.Activation": "the argument activation=, or gr.nn",
}  # fmt: skip
