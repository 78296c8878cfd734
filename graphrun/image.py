"""Images: resized, turned, cut, padded, and their colours.

>>> import graphrun as gr
>>> gr.image.resize_images(gr.zeros([1, 8, 8, 3]), [4, 6]).shape.as_list()
[1, 4, 6, 3]
"""

from graphrun.ops.image_boxes import sample_distorted_bounding_box as sample_distorted_bounding_box
from graphrun.ops.image_color import adjust_brightness as adjust_brightness
from graphrun.ops.image_color import adjust_contrast as adjust_contrast
from graphrun.ops.image_color import adjust_gamma as adjust_gamma
from graphrun.ops.image_color import adjust_hue as adjust_hue
from graphrun.ops.image_color import adjust_saturation as adjust_saturation
from graphrun.ops.image_color import convert_image_dtype as convert_image_dtype
from graphrun.ops.image_color import grayscale_to_rgb as grayscale_to_rgb
from graphrun.ops.image_color import hsv_to_rgb as hsv_to_rgb
from graphrun.ops.image_color import per_image_standardization as per_image_standardization
from graphrun.ops.image_color import random_brightness as random_brightness
from graphrun.ops.image_color import random_contrast as random_contrast
from graphrun.ops.image_color import random_hue as random_hue
from graphrun.ops.image_color import random_saturation as random_saturation
from graphrun.ops.image_color import rgb_to_grayscale as rgb_to_grayscale
from graphrun.ops.image_color import rgb_to_hsv as rgb_to_hsv
from graphrun.ops.image_draw import draw_bounding_boxes as draw_bounding_boxes
from graphrun.ops.image_quality import psnr as psnr
from graphrun.ops.image_resize import ResizeMethod as ResizeMethod
from graphrun.ops.image_resize import resize_area as resize_area
from graphrun.ops.image_resize import resize_bicubic as resize_bicubic
from graphrun.ops.image_resize import resize_bilinear as resize_bilinear
from graphrun.ops.image_resize import resize_images as resize_images
from graphrun.ops.image_resize import resize_nearest_neighbor as resize_nearest_neighbor
from graphrun.ops.image_shape import central_crop as central_crop
from graphrun.ops.image_shape import crop_to_bounding_box as crop_to_bounding_box
from graphrun.ops.image_shape import flip_left_right as flip_left_right
from graphrun.ops.image_shape import flip_up_down as flip_up_down
from graphrun.ops.image_shape import image_gradients as image_gradients
from graphrun.ops.image_shape import pad_to_bounding_box as pad_to_bounding_box
from graphrun.ops.image_shape import random_crop as random_crop
from graphrun.ops.image_shape import random_flip_left_right as random_flip_left_right
from graphrun.ops.image_shape import random_flip_up_down as random_flip_up_down
from graphrun.ops.image_shape import resize_image_with_crop_or_pad as resize_image_with_crop_or_pad
from graphrun.ops.image_shape import resize_image_with_pad as resize_image_with_pad
from graphrun.ops.image_shape import rot90 as rot90
from graphrun.ops.image_shape import total_variation as total_variation
from graphrun.ops.image_shape import transpose_image as transpose_image
from graphrun.ops.patches import extract_image_patches as extract_image_patches
