"""Files: TensorFlow's ``tf.io``.

>>> import graphrun as gr
>>> gr.io.gfile.exists("/no/such/file")
False
"""

from graphrun.io import gfile as gfile
