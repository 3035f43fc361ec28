//! Matmul kernels against the machine.

fn main() {}
