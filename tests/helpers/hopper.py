"""Compiles Triton kernels for a Hopper GPU, without having one."""

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
    """Return a compiled kernel.

    Args:
        kernel: A function decorated by ``triton.jit``, autotuned or not.
        pointer: Return the type of an argument by its name, such as '*bf16', or None for a 32-bit integer.
        constants: Values of the constexprs.
        multiples: Names of integers that are multiples of 16, as all addresses are.
        options: Options such as num_warps.
    """
    import triton
    from triton.backends.compiler import GPUTarget

    while not isinstance(kernel, triton.JITFunction):
        kernel = kernel.fn  # the kernel below the autotuner
    signature = {name: 'constexpr' if name in constants else pointer(name) or 'i32' for name in kernel.arg_names}
    divisible = {
        (i,): [['tt.divisibility', 16]]
        for i, (name, type_) in enumerate(signature.items())
        if type_.startswith('*') or (type_ == 'i32' and name in multiples)
    }
    source = triton.compiler.ASTSource(kernel, signature, dict(constants), divisible)
    return triton.compile(source, GPUTarget('cuda', 90, 32), {k: v for k, v in options.items() if v is not None})


def assert_keeps_all_in_registers(kernel, folder: Path) -> None:
    """Check that no thread of a compiled kernel spills registers to memory; ``folder`` takes a file."""
    from triton.backends import nvidia

    (folder / 'kernel.cubin').write_bytes(kernel.asm['cubin'])
    reader = Path(nvidia.__path__[0]) / 'bin/cuobjdump'
    done = subprocess.run([reader, '-res-usage', folder / 'kernel.cubin'], capture_output=True, text=True, check=True)
    assert ' STACK:0 ' in done.stdout + done.stderr, done.stdout + done.stderr
