"""The FID Inception network of pytorch-fid with weights made by a formula (formula.py), which
test_inception.c repeats, so that 95 MB of weights need not be kept to prove the network.

Needs torch, torchvision and pytorch-fid."""
import numpy as np
import torch
import pytorch_fid.inception as pytorch_fid

from formula import noise, picture


def tensor(name, shape):
    """Float32 values that keep activations near 1 from layer to layer."""
    r = noise(name, int(np.prod(shape)))
    if name.endswith("conv.weight"):
        r = r * np.sqrt(6 / np.prod(shape[1:]))
    elif name.endswith("bn.weight") or name.endswith("running_var"):
        r = 1 + 0.25 * r
    elif name == "fc.weight":
        r = r * 0.0625
    else:
        r = 0.25 * r
    return r.astype(np.float32).reshape(shape)


def state():
    """The tensors of the published file, num_batches_tracked left out."""
    shapes = network_without_weights().state_dict()
    return {k: tensor(k, tuple(v.shape)) for k, v in shapes.items() if not k.endswith("num_batches_tracked")}


def network_without_weights():
    class Stop(Exception):
        pass

    def no_download(*args, **kwargs):
        raise Stop

    keep, made = pytorch_fid.load_state_dict_from_url, []
    plain = pytorch_fid._inception_v3

    def remember(*args, **kwargs):
        made.append(plain(*args, **kwargs))
        return made[0]

    pytorch_fid.load_state_dict_from_url, pytorch_fid._inception_v3 = no_download, remember
    try:
        pytorch_fid.fid_inception_v3()
    except Stop:
        pass
    pytorch_fid.load_state_dict_from_url, pytorch_fid._inception_v3 = keep, plain
    return made[0].eval()


def network(weights):
    net = network_without_weights()
    net.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in weights.items()}, strict=False)
    return net.eval()


@torch.no_grad()
def outputs(net, x):
    """pool [N,2048], spatial [N,2023] (row, column, channel) and logits [N,1008] of x [N,3,299,299]."""
    kept = {}
    hooks = [net.Mixed_6d.branch1x1.register_forward_hook(lambda m, i, o: kept.update(spatial=o)),
             net.avgpool.register_forward_hook(lambda m, i, o: kept.update(pool=o))]
    transform, net.transform_input = net.transform_input, False
    logits = net(x)
    net.transform_input = transform
    for h in hooks:
        h.remove()
    spatial = kept["spatial"][:, :7].permute(0, 2, 3, 1).reshape(len(x), -1)
    return kept["pool"].flatten(1), spatial, logits
