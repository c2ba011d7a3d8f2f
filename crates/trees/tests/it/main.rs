//! Tests against real models, damaged models, and random ensembles.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod catboost;
mod corpus;
mod ensembles;
mod memory;
mod mutate;
mod npy;
mod onnx;
mod reasons;

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;
