"""The networks of ControlNet's depth and segmentation demos, from the demos' own modules (lllyasviel/ControlNet at ed85cd1), with
weights by a formula, which tests/formula.h repeats. Widths are free: the published ones, or small ones.

Needs torch, timm, opencv-python-headless, and a checkout of that repository."""
import importlib.util
import pathlib
import sys
import types

import numpy as np
import timm
import torch
from timm.models.resnetv2 import ResNetV2
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_hybrid import HybridEmbed
from timm.layers import StdConv2dSame
from functools import partial

from formula import noise, picture  # noqa: F401

SMALL_DEPTH = dict(stem=32, stages=(128, 256, 256), vit=64, grid=3, fused=32, last=8)
FULL_DEPTH = dict(stem=64, stages=(256, 512, 1024), vit=768, grid=24, fused=256, last=32)
SMALL_SEG = dict(embed=(16, 24, 64, 128), channels=32)
FULL_SEG = dict(embed=(64, 128, 320, 512), channels=512)


def tensor(name, shape):
    r = noise(name, int(np.prod(shape)))
    if len(shape) >= 2 and name.endswith("weight"):
        r = r * np.sqrt(3 / np.prod(shape[1:]))
    elif name.endswith("weight") or name.endswith("running_var"):
        r = 1 + 0.25 * r
    elif name == "scratch.output_conv.4.bias":
        r = 1.5 + 0.25 * r  # the depth is behind a rectifier
    else:
        r = 0.25 * r
    return r.astype(np.float32).reshape(shape)


def fill(net):
    """Gives the network its weights; returns their names and shapes."""
    state = {k: v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    net.load_state_dict({k: torch.from_numpy(tensor(k, tuple(v.shape))) for k, v in state.items()}, strict=False)
    return {k: tuple(v.shape) for k, v in state.items()}


def load(checkout, path, name):
    spec = importlib.util.spec_from_file_location(name, pathlib.Path(checkout) / path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def stub(name, **members):
    module = types.ModuleType(name)
    module.__dict__.update(members)
    module.__path__ = []
    sys.modules[name] = module
    return module


def hybrid(sizes):
    """timm's vit_base_resnet50_384 of other widths."""
    backbone = ResNetV2(layers=(3, 4, 9), channels=sizes["stages"], stem_chs=sizes["stem"], num_classes=0, global_pool="",
                        preact=False, stem_type="same", conv_layer=partial(StdConv2dSame, eps=1e-8))
    return VisionTransformer(img_size=16 * sizes["grid"], patch_size=1, embed_dim=sizes["vit"], depth=12,
                             num_heads=sizes["vit"] // 64, embed_layer=partial(HybridEmbed, backbone=backbone))


def midas(checkout, sizes):
    package = "annotator.midas.midas"
    for name in ("annotator", "annotator.midas", package):
        stub(name)
    for name in ("base_model", "vit", "blocks", "dpt_depth"):
        load(checkout, f"annotator/midas/midas/{name}.py", f"{package}.{name}")
    vit, blocks, dpt = (sys.modules[f"{package}.{name}"] for name in ("vit", "blocks", "dpt_depth"))
    if sizes is FULL_DEPTH:
        return dpt.DPTDepthModel(backbone="vitb_rn50_384", non_negative=True).eval()
    taps = [*sizes["stages"][:2], sizes["vit"], sizes["vit"]]

    def encoder(backbone, features, *args, hooks=None, use_readout=None, **kwargs):
        side = 16 * sizes["grid"]
        pretrained = vit._make_vit_b_rn50_backbone(hybrid(sizes), features=taps, size=[side, side], hooks=hooks,
                                                   vit_features=sizes["vit"], use_readout=use_readout)
        return pretrained, blocks._make_scratch(taps, features)

    dpt._make_encoder = encoder
    net = dpt.DPTDepthModel(backbone="vitb_rn50_384", non_negative=True, features=sizes["fused"])
    head = net.scratch.output_conv
    head[2] = torch.nn.Conv2d(sizes["fused"] // 2, sizes["last"], 3, padding=1)
    head[4] = torch.nn.Conv2d(sizes["last"], 1, 1)
    return net.eval()


class Registry:
    def register_module(self):
        return lambda c: c


class ConvModule(torch.nn.Sequential):
    def __init__(self, inputs, outputs, side, padding=0, **kwargs):
        super().__init__()
        self.conv = torch.nn.Conv2d(inputs, outputs, side, padding=padding, bias=False)
        self.bn = torch.nn.BatchNorm2d(outputs)
        self.activate = torch.nn.ReLU()


class BaseDecodeHead(torch.nn.Module):
    conv_cfg = norm_cfg = act_cfg = None
    align_corners = False

    def __init__(self, in_channels, channels, num_classes, input_transform=None):
        super().__init__()
        self.in_channels, self.channels = in_channels, channels
        self.conv_seg = torch.nn.Conv2d(channels, num_classes, 1)

    def _transform_inputs(self, inputs):
        return list(inputs)

    def cls_seg(self, features):
        return self.conv_seg(features)


class Segmentor(torch.nn.Module):
    def __init__(self, checkout, sizes):
        super().__init__()
        root = "annotator.uniformer"
        heads = f"{root}.mmseg.models.decode_heads"
        for name in ("annotator", root, f"{root}.mmseg", f"{root}.mmseg.models", f"{root}.mmseg.models.backbones", heads):
            stub(name)
        stub(f"{root}.mmcv_custom", load_checkpoint=None)
        stub(f"{root}.mmseg.utils", get_root_logger=None)
        stub(f"{root}.mmcv"), stub(f"{root}.mmcv.cnn", ConvModule=ConvModule)
        stub(f"{root}.mmseg.models.builder", BACKBONES=Registry(), HEADS=Registry())
        stub(f"{heads}.decode_head", BaseDecodeHead=BaseDecodeHead)
        if "timm.models.layers" not in sys.modules:
            stub("timm.models.layers", DropPath=timm.layers.DropPath, to_2tuple=timm.layers.to_2tuple,
                 trunc_normal_=timm.layers.trunc_normal_)
        ops = load(checkout, "annotator/uniformer/mmseg/ops/wrappers.py", f"{root}.mmseg.ops.wrappers")
        stub(f"{root}.mmseg.ops", resize=ops.resize)
        backbone = load(checkout, "annotator/uniformer/mmseg/models/backbones/uniformer.py",
                        f"{root}.mmseg.models.backbones.uniformer")
        load(checkout, "annotator/uniformer/mmseg/models/decode_heads/psp_head.py", f"{heads}.psp_head")
        uper = load(checkout, "annotator/uniformer/mmseg/models/decode_heads/uper_head.py", f"{heads}.uper_head")
        self.backbone = backbone.UniFormer(embed_dim=list(sizes["embed"]), layers=[3, 4, 8, 3], head_dim=64,
                                           drop_path_rate=0.25, windows=False, hybrid=False)
        self.decode_head = uper.UPerHead(in_channels=list(sizes["embed"]), channels=sizes["channels"], num_classes=150)

    def forward(self, x):
        return self.decode_head(self.backbone(x))
