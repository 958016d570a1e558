"""Even-sized kernels in the generator of a GAN (Wu et al., section 4.4)."""
