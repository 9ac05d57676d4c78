"""Our optimisers against those of PyTorch."""

import pytest
import torch
from torch.optim.lr_scheduler import OneCycleLR

from odevae.training import optimisers


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_steps_are_those_of_pytorch(name, fused):
    found = []
    for module in (optimisers, torch.optim):
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 2)
        optimiser = getattr(module, name)(model.parameters(), 0.01, weight_decay=0.1, fused=fused)
        schedule = OneCycleLR(optimiser, 0.01, total_steps=6)
        for _ in range(6):
            optimiser.load_state_dict(optimiser.state_dict())
            optimiser.zero_grad()
            model(torch.randn(4, 3)).square().sum().backward()
            optimiser.step()
            schedule.step()
        assert optimiser.param_groups[0]["lr"] != 0.01
        found.append(torch.cat([parameter.detach().ravel() for parameter in model.parameters()]))
    assert torch.equal(*found)
