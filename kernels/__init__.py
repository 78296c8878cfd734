"""OpenCL C sources, installed as the package ``graphrun.kernels``; see README.md beside this file."""
