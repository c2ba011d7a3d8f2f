//! The models a pipeline can call
