//! Tests against real models.

mod corpus;
mod npy;
