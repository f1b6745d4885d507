"""What kernels compile to for a Hopper GPU, of which none is needed."""

import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path


def compiled(
    kernel,
    pointer: Callable[[str], str | None],
    constants: Mapping,
    multiples: Iterable[str] = (),
    **options: int | None,
):
    """``kernel``, tuned or not.

    Args:
        kernel: Of ``triton.jit``.
        pointer: The type of an argument by its name, such as '*bf16'; of what is none, nothing: 32-bit integers.
        constants: The constexprs.
        multiples: Integers that are multiples of 16, as all addresses are.
        options: Such as num_warps.
    """
    import triton
    from triton.backends.compiler import GPUTarget

    while not isinstance(kernel, triton.JITFunction):
        kernel = kernel.fn  # what tunes it
    signature = {name: 'constexpr' if name in constants else pointer(name) or 'i32' for name in kernel.arg_names}
    divisible = {
        (i,): [['tt.divisibility', 16]]
        for i, (name, kind) in enumerate(signature.items())
        if kind.startswith('*') or kind == 'i32' and name in multiples
    }
    source = triton.compiler.ASTSource(kernel, signature, dict(constants), divisible)
    return triton.compile(source, GPUTarget('cuda', 90, 32), {k: v for k, v in options.items() if v is not None})


def assert_keeps_all_in_registers(kernel, folder: Path) -> None:
    """No thread of a compiled kernel keeps numbers in memory. ``folder``: for the file that is read."""
    from triton.backends import nvidia

    (folder / 'kernel.cubin').write_bytes(kernel.asm['cubin'])
    reader = Path(nvidia.__path__[0]) / 'bin/cuobjdump'
    done = subprocess.run([reader, '-res-usage', folder / 'kernel.cubin'], capture_output=True, text=True, check=True)
    assert ' STACK:0 ' in done.stdout + done.stderr, done.stdout + done.stderr
