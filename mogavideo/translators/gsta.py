"""gSTA, the translator of SimVPv2 (arXiv 2211.12509)."""

from .van import VANBlock


class GSTABlock(VANBlock):
    """Gated spatiotemporal attention: VAN's block with a sigmoid gate computed by the large kernel."""

    gated = True
