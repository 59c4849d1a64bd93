// SPDX-License-Identifier: Apache-2.0
#pragma once

/// For functions that run on the host and in CUDA kernels.
#if defined(__CUDACC__)
#define ANAPHASE_HOST_DEVICE __host__ __device__
#else
#define ANAPHASE_HOST_DEVICE
#endif
