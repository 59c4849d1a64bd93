// SPDX-License-Identifier: Apache-2.0
#include "kernels/resample/resample.hpp"

#include <algorithm>

#include "engine/ops/check.hpp"
#include "engine/ops/ops.hpp"
#include "engine/ops/split.hpp"
#include "kernels/pool/pool.hpp"

namespace anaphase::engine {

Tensor max_pool(Tape& tape, const Tensor& x) {
  check(x.shape().size() == 4 && x.dim(1) >= 2 && x.dim(2) >= 2, "max_pool",
        "x has shape {}, expected [N, H, W, C] with H and W of 2 or more", to_string(x.shape()));
  const int n = static_cast<int>(x.dim(0)), h = static_cast<int>(x.dim(1));
  const int w = static_cast<int>(x.dim(2)), c = static_cast<int>(x.dim(3));
  const DType type = x.type();
  const Shape y_shape{n, h / 2, w / 2, c};
  const Tensor y = tape.allocate(y_shape, type), index = tape.allocate(y_shape, DType::i32);
  tape.launch("max_pool_forward", {x}, {y, index}, [=] {
    return kernels::MaxPoolForward{n, h, w, c, type, x.data(), y.data(), index.data()};
  });
  tape.record({x}, y, [=, &tape](const Tensor& dy) -> std::vector<Tensor> {
    const Tensor dx = tape.allocate_like(x);
    tape.launch("max_pool_backward", {dy, index}, {dx}, [=] {
      return kernels::MaxPoolBackward{n, h, w, c, type, dy.data(), index.data(), dx.data()};
    });
    return {dx};
  });
  return y;
}

Tensor resample(Tape& tape, const Tensor& x, const Shape& extents, ResampleMode mode,
                const Tensor& skip) {
  const std::size_t axes = x.shape().size() - 2;
  check((axes == 2 || axes == 3) && extents.size() == axes, "resample",
        "x has shape {}, extents are {}: expected 2 or 3 spatial axes in both",
        to_string(x.shape()), to_string(extents));
  check(*std::min_element(extents.begin(), extents.end()) > 0, "resample",
        "extents are {}, expected positive numbers", to_string(extents));
  const auto extent = [](std::int64_t value) { return static_cast<int>(value); };
  const bool is_3d = axes == 3;
  const kernels::ResampleShape shape{.n = extent(x.dim(0)),
                                     .d = is_3d ? extent(x.dim(1)) : 1,
                                     .h = extent(x.dim(-3)),
                                     .w = extent(x.dim(-2)),
                                     .out_d = is_3d ? extent(extents[0]) : 1,
                                     .out_h = extent(extents[axes - 2]),
                                     .out_w = extent(extents[axes - 1]),
                                     .c = extent(x.dim(-1)),
                                     .mode = mode};
  Shape y_shape = x.shape();
  std::copy(extents.begin(), extents.end(), y_shape.begin() + 1);
  const DType type = x.type();
  if (skip)
    check(skip.type() == type && with_channels(skip, shape.c) == y_shape, "resample",
          "skip is {} of shape {}, x resampled {} of shape {}: types and all axes but the last "
          "have to agree",
          name_of(skip.type()), to_string(skip.shape()), name_of(type), to_string(y_shape));
  const int skip_channels = skip ? extent(skip.dim(-1)) : 0;
  y_shape.back() += skip_channels;
  const Tensor y = tape.allocate(y_shape, type);
  tape.launch("resample_forward", {x, skip}, {y}, [=] {
    return kernels::ResampleForward{shape, type, x.data(), y.data(), skip.data(), skip_channels};
  });
  tape.record({x, skip}, y, [=, &tape](const Tensor& dy) -> std::vector<Tensor> {
    const Halves d = skip
                         ? split(tape, dy, skip_channels, skip.needs_gradient(), x.needs_gradient())
                         : Halves{{}, dy};
    if (!x.needs_gradient()) return {Tensor{}, d.a};
    const Tensor dx = tape.allocate_like(x);
    tape.launch("resample_backward", {d.b}, {dx}, [=] {
      return kernels::ResampleBackward{shape, type, d.b.data(), dx.data()};
    });
    return {dx, d.a};
  });
  return y;
}

}  // namespace anaphase::engine
