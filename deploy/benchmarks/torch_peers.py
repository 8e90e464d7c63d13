"""The reference U-Net in PyTorch and ONNX Runtime: run as a script by torch.py, with them at hand.

usage: torch_peers.py PEER train|predict BATCH REPEATS        PEER: eager, compiled or onnxruntime

One level, 64 and 128 features, three equal input channels, ReLU, 256 x 256; Adam 1e-4 and binary cross-entropy, as published.
Prints the seconds of each training step, or of each prediction of BATCH pictures, after one to warm up.
"""

import os
import sys
import time

import torch
from torch import nn

EDGE = 256


class Reference(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(3, 64, 3, padding=1)
        self.deep = nn.Conv2d(64, 128, 3, padding=1)
        self.up = nn.Conv2d(192, 64, 3, padding=1)
        self.head = nn.Conv2d(64, 1, 1)

    def forward(self, pictures):
        beside = self.down(pictures).relu()
        deep = self.deep(nn.functional.max_pool2d(beside, 2)).relu()
        doubled = nn.functional.interpolate(deep, scale_factor=2, mode="nearest")
        return self.head(self.up(torch.cat([doubled, beside], 1)).relu())


def pictures(batch):
    return torch.rand(batch, 1, EDGE, EDGE).expand(-1, 3, -1, -1).contiguous()


def training(peer, batch):
    network = Reference()
    called = torch.compile(network) if peer == "compiled" else network
    adam = torch.optim.Adam(network.parameters(), lr=1e-4)
    images, masks = pictures(batch), (torch.rand(batch, 1, EDGE, EDGE) > 0.99).float()

    def step():
        adam.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(called(images), masks).backward()
        adam.step()

    return step


def prediction(peer, batch):
    network, images = Reference().eval(), pictures(batch)
    if peer == "onnxruntime":
        return onnx_prediction(network, images)
    called = torch.compile(network) if peer == "compiled" else network

    def predict():
        with torch.inference_mode():
            called(images).sigmoid()

    return predict


def onnx_prediction(network, images):
    import io

    import onnxruntime

    file = io.BytesIO()
    torch.onnx.export(network, images, file, dynamo=False, input_names=["pictures"])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = os.cpu_count()
    session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"pictures": images.numpy()})


def main(peer, what, batch, repeats):
    torch.manual_seed(0)
    torch.set_num_threads(os.cpu_count())
    once = (training if what == "train" else prediction)(peer, int(batch))
    once()
    for _ in range(int(repeats)):
        start = time.perf_counter()
        once()
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
