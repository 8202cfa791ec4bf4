from torch.nn import Conv2d
