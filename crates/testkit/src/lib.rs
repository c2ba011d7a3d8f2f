//! Drive a pipeline in memory
