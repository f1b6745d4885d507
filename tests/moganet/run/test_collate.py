"""Batches that a worker sends in one message equal those of a loader without workers."""

import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import FUNCTIONS
from mmengine.structures import InstanceData
from torch.utils.data import DataLoader, Dataset

from moganet.run import collate, engine


class Samples(Dataset):
    """Images with a structure, numbers and words."""

    def __len__(self):
        return 5

    def __getitem__(self, index):
        boxes = InstanceData(boxes=torch.full((index + 1, 4), float(index)), names=['a'] * (index + 1))
        image = torch.full((3, 4, 4), index, dtype=torch.uint8).permute(1, 2, 0)
        return {'inputs': image, 'data_samples': boxes, 'scale': (1.5, index), 'label': torch.tensor(index)}


@pytest.mark.parametrize('workers', [0, 1])
def test_batches_are_those_of_pseudo_collate(workers):
    samples = Samples()
    batches = list(DataLoader(samples, batch_size=2, num_workers=workers, collate_fn=collate.packed_collate))
    assert [len(batch['inputs']) for batch in batches] == [2, 2, 1]
    for batch, first in zip(batches, (0, 2, 4), strict=True):
        expected = pseudo_collate([samples[i] for i in range(first, min(first + 2, 5))])
        assert batch.keys() == expected.keys()
        assert batch['scale'] == expected['scale']
        for name in ('inputs', 'label'):
            assert all(torch.equal(a, b) for a, b in zip(batch[name], expected[name], strict=True))
            assert all(a.dtype is b.dtype for a, b in zip(batch[name], expected[name], strict=True))
        for ours, theirs in zip(batch['data_samples'], expected['data_samples'], strict=True):
            assert torch.equal(ours.boxes, theirs.boxes)
            assert ours.names == theirs.names


def test_tensors_of_a_message_can_be_written_to():
    batch = next(iter(DataLoader(Samples(), batch_size=2, num_workers=1, collate_fn=collate.packed_collate)))
    batch['data_samples'][1].boxes.mul_(2)
    assert batch['data_samples'][1].boxes.tolist() == [[2.0] * 4] * 2
    assert not any(tensor.is_shared() for tensor in (*batch['inputs'], *batch['label']))


def test_recipes_find_it_by_name():
    assert engine.collate is collate
    assert FUNCTIONS.get('packed_collate') is collate.packed_collate
