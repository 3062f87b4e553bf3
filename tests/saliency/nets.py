"""Nets whose scores have the shapes that saliency takes."""

INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 5 dim: 4 } } }'

CONV = """
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "gaussian" std: 0.3 } } }
layer { name: "tanh" type: "TanH" bottom: "conv" top: "conv" }
"""

CLASSIFIER = f"""
force_backward: true
{INPUT} {CONV}
layer {{ name: "fc" type: "InnerProduct" bottom: "conv" top: "fc"
        inner_product_param {{ num_output: 6 weight_filler {{ type: "gaussian" std: 0.3 }} }} }}
layer {{ name: "prob" type: "Softmax" bottom: "fc" top: "prob" }}
"""
"""(2, 3, 5, 4) -> prob (2, 6), fc before it."""

DENSE = f"""
{INPUT} {CONV}
layer {{ name: "score" type: "Convolution" bottom: "conv" top: "score"
        convolution_param {{ num_output: 6 kernel_size: 2 weight_filler {{ type: "gaussian" std: 0.3 }} }} }}
layer {{ name: "prob" type: "Softmax" bottom: "score" top: "prob" }}
"""
"""(2, 3, 5, 4) -> prob (2, 6, 4, 3), score before it."""

POOLED = f"""
{INPUT} {CONV}
layer {{ name: "score" type: "Convolution" bottom: "conv" top: "score"
        convolution_param {{ num_output: 6 kernel_size: 2 weight_filler {{ type: "gaussian" std: 0.3 }} }} }}
layer {{ name: "pool" type: "Pooling" bottom: "score" top: "pool"
        pooling_param {{ pool: AVE global_pooling: true }} }}
"""
"""(2, 3, 5, 4) -> pool (2, 6, 1, 1), no Softmax."""
