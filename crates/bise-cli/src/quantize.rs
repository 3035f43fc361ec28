//! `bise quantize`.
