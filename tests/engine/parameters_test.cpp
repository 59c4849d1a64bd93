// SPDX-License-Identifier: Apache-2.0
#include "engine/parameters.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <stdexcept>

#include "kernels/common/error.hpp"

using namespace anaphase;
using namespace anaphase::engine;

namespace {

using Values = std::vector<float>;

/// Two weights, two vectors and a buffer, declared in the given order.
ParameterSet declared(bool reversed, std::uint64_t seed, const Device& device = Device::cpu()) {
  ParameterSet set;
  const auto declare = [&](int which) {
    switch (which) {
      case 0:
        set.declare("a.weight", {3, 7}, uniform_by_fan_in(7));
        break;
      case 1:
        set.declare("a.bias", {3}, uniform_by_fan_in(7));
        break;
      case 2:
        set.declare("norm.weight", {5}, {.constant = 1});
        break;
      case 3:
        set.declare("b.weight", {2, 3, 3, 4}, uniform_by_fan_in(36));
        break;
      default:
        set.declare_buffer("norm.variance", {5}, 1);
    }
  };
  for (int i = 0; i < 5; ++i) declare(reversed ? 4 - i : i);
  set.materialise(device, seed);
  return set;
}

}  // namespace

TEST_CASE("initial values depend on seed and name alone") {
  const ParameterSet a = declared(false, 5), b = declared(false, 5), other = declared(false, 6);
  const ParameterSet reversed = declared(true, 5);
  const ParameterSet reference = declared(false, 5, Device::reference());
  for (const ParameterSet::Entry& entry : a.entries()) {
    const Values values = download(entry.tensor);
    CHECK(download(b.find(entry.name)) == values);
    CHECK(download(reversed.find(entry.name)) == values);
    CHECK(download(reference.find(entry.name)) == values);
    CHECK((download(other.find(entry.name)) == values) == (entry.initial.bound == 0));
  }
  CHECK(download(a.find("norm.weight")) == Values(5, 1));
  CHECK(download(a.find("norm.variance")) == Values(5, 1));
  // Different names, different numbers.
  CHECK(download(a.find("a.weight"))[0] != download(a.find("b.weight"))[0]);
}

TEST_CASE("weights start evenly between the bounds of their fan-in") {
  CHECK(uniform_by_fan_in(16).bound == 0.25);
  ParameterSet set;
  const Tensor weight = set.declare("weight", {100, 100}, uniform_by_fan_in(100));
  set.materialise(Device::cpu(), 9);
  const Values values = download(weight);
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  double sum = 0, square = 0;
  for (const float v : values) {
    sum += v;
    square += v * v;
  }
  CHECK(*low >= -0.1F);
  CHECK(*low < -0.099F);
  CHECK(*high <= 0.1F);
  CHECK(*high > 0.099F);
  // Of 10000 numbers: the mean's standard deviation is 0.1 / sqrt(3) / 100 = 6e-4, the variance is
  // 0.01 / 3 give or take 3e-5.
  CHECK(std::abs(sum / 10000) < 3e-3);
  CHECK(std::abs(square / 10000 - 0.01 / 3) < 1.5e-4);
}

TEST_CASE("parameters lie in one block, decayed ones first, each on a cache line") {
  for (const bool reversed : {false, true}) {
    ParameterSet set = declared(reversed, 1);
    CHECK_FALSE(set.gradients());
    for (const ParameterSet::Entry& entry : set.entries()) CHECK_FALSE(entry.tensor.gradient());
    set.materialise_gradients();
    CHECK(set.decayed_count() == 32 + 80);  // 21 and 72 numbers in lines of 16
    CHECK(set.count() == 32 + 80 + 16 + 16);
    CHECK(set.gradients().count() == set.count());
    CHECK(set.buffers().count() == 16);
    const auto* values = set.values().as<float>();
    const auto* gradients = set.gradients().as<float>();
    for (const ParameterSet::Entry& entry : set.entries()) {
      CAPTURE(entry.name);
      CHECK(entry.tensor.needs_gradient() == entry.trainable);
      CHECK(reinterpret_cast<std::uintptr_t>(entry.tensor.data()) % 64 == 0);
      if (!entry.trainable) {
        CHECK(entry.tensor.data() == set.buffers().data());
        CHECK_FALSE(entry.tensor.gradient());
        continue;
      }
      const std::int64_t at = entry.tensor.as<float>() - values;
      CHECK(at >= 0);
      CHECK(at + entry.tensor.count() <= set.count());
      CHECK((at < set.decayed_count()) == (entry.tensor.shape().size() >= 2));
      CHECK(entry.tensor.gradient().as<float>() == gradients + at);
      CHECK(entry.tensor.gradient().shape() == entry.tensor.shape());
    }
  }
}

TEST_CASE("gradients stay where they are when they are asked for again") {
  ParameterSet set = declared(false, 1);
  set.materialise_gradients();
  upload(set.find("a.bias").gradient(), Values{1, 2, 3});
  set.materialise_gradients();
  CHECK(download(set.find("a.bias").gradient()) == Values{1, 2, 3});
}

TEST_CASE("a network of vectors alone has nothing to decay and no buffers") {
  ParameterSet set;
  set.declare("scale", {3}, {.constant = 2});
  set.materialise(Device::cpu(), 1);
  CHECK(set.decayed_count() == 0);
  CHECK_FALSE(set.buffers());
}

TEST_CASE("a copy has all values and memory of its own") {
  for (const Device& device : {Device::cpu(), Device::reference()}) {
    const ParameterSet source = declared(false, 1, device);
    ParameterSet copy = declared(false, 2, device);
    upload(source.find("norm.variance"), Values{1, 2, 3, 4, 5});
    copy.copy_from(source);
    for (const ParameterSet::Entry& entry : source.entries())
      CHECK(download(copy.find(entry.name)) == download(entry.tensor));
    upload(source.find("a.bias"), Values{7, 7, 7});
    CHECK(download(copy.find("a.bias"))[1] != 7);
  }
}

TEST_CASE("copies between different networks and unknown names are refused") {
  const ParameterSet set = declared(false, 1);
  ParameterSet smaller;
  smaller.declare("weight", {2, 2}, {});
  smaller.materialise(Device::cpu(), 1);
  CHECK_THROWS_AS(smaller.copy_from(set), std::logic_error);
  CHECK_THROWS_WITH_AS(set.find("c.weight"), "the network has no parameter 'c.weight'", Error);
}

TEST_CASE("a name can be given once") {
  ParameterSet set;
  set.declare("weight", {2, 2}, {});
  CHECK_THROWS_AS(set.declare("weight", {2, 2}, {}), std::logic_error);
  CHECK_THROWS_AS(set.declare_buffer("weight", {2}, 0), std::logic_error);
}
