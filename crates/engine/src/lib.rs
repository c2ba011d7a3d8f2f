//! Plans, wires and drives pipelines
