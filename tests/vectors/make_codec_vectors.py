"""Writes codec_kl.safetensors and codec_tiny.safetensors: random weights of small codecs, pictures, and what the networks
make of them. AutoencoderKL is diffusers' (pip install torch diffusers safetensors); the tiny autoencoder is written down
here from the description in the taesd repository."""
import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file
from torch import nn

torch.manual_seed(7)
torch.set_default_dtype(torch.float64)


def randomise(net):
    for p in net.parameters():
        fan = p[0].numel() if p.dim() > 1 else 1
        p.data = (torch.randn_like(p) * (1.2 / fan**0.5 if p.dim() > 1 else 0.3)).float().double()
    for m in net.modules():
        if isinstance(m, nn.GroupNorm):
            m.weight.data = (m.weight.data + 1).float().double()


def store(name, tensors):
    save_file({k: v.detach().float().contiguous() for k, v in tensors.items()}, name)


def kl():
    net = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(4, 8, 8), layers_per_block=2, latent_channels=3, norm_num_groups=4).double().eval()
    randomise(net)
    x = torch.rand(2, 3, 12, 16) * 2 - 1
    moments = net.encode(x).latent_dist
    z = torch.randn(2, 3, 3, 5)
    out = {"diffusers." + k: v for k, v in net.state_dict().items()}
    out |= {"x": x, "mean": moments.mean, "logvar": moments.logvar, "z": z, "decoded": net.decode(z).sample}
    store("codec_kl.safetensors", out)


class Block(nn.Module):
    def __init__(self, width, pool):
        super().__init__()
        conv = lambda: nn.Conv2d(width, width, 3, padding=1)
        self.conv = nn.Sequential(conv(), nn.ReLU(), conv(), nn.ReLU(), conv())
        self.pool = nn.Sequential(nn.Conv2d(width, 4 * width, 1, bias=False), nn.GroupNorm(4, 4 * width), nn.ReLU(),
                                  nn.Conv2d(4 * width, width, 1, bias=False)) if pool else None

    def forward(self, x):
        if self.pool is not None:
            x = x + self.pool(x)
        return torch.relu(self.conv(x) + x)


class Clamp(nn.Module):
    def forward(self, x):
        return torch.tanh(x / 3) * 3


def tiny():
    width, latents = 4, 5
    conv = lambda i, o, **k: nn.Conv2d(i, o, 3, padding=1, **k)
    down = lambda: conv(width, width, stride=2, bias=False)
    up = lambda: [nn.Upsample(scale_factor=2), conv(width, width, bias=False)]
    blocks = lambda pool=False: [Block(width, pool) for _ in range(3)]
    encoder = nn.Sequential(conv(3, width), Block(width, False), down(), *blocks(), down(), *blocks(), down(),
                            *blocks(True), conv(width, latents))
    decoder = nn.Sequential(Clamp(), conv(latents, width), nn.ReLU(), *blocks(True), *up(), *blocks(), *up(), *blocks(),
                            *up(), Block(width, False), conv(width, 3))
    randomise(encoder)
    randomise(decoder)
    x = torch.rand(2, 3, 24, 16) * 2 - 1
    z = torch.randn(2, latents, 2, 3) * 2
    out = {"encoder." + k: v for k, v in encoder.state_dict().items()}
    out |= {"decoder." + k: v for k, v in decoder.state_dict().items()}
    out |= {"x": x, "latent": encoder((x + 1) / 2), "z": z, "decoded": decoder(z) * 2 - 1}
    store("codec_tiny.safetensors", out)


kl()
tiny()
