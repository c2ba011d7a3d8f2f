//! Load and evaluate tree ensembles, exactly as their framework does
