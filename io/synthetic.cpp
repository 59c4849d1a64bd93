// SPDX-License-Identifier: Apache-2.0
#include "io/synthetic.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <string>
#include <vector>

#include "io/new_dataset_folder.hpp"
#include "kernels/common/error.hpp"
#include "kernels/common/philox.hpp"

namespace anaphase::io {
namespace {

using std::numbers::pi;
using Color = std::array<double, 3>;

constexpr double to_unit(std::uint64_t bits) {
  return double(bits >> 11) * 0x1p-53;
}

/// Draw once a statement or in braces only: compilers differ in the order of function arguments.
class Random {
 public:
  explicit Random(std::uint64_t key) : stream_(key) {}

  double uniform(double low, double high) {
    return low + (high - low) * (double(stream_.bits()) + 0.5) * 0x1p-32;
  }
  double normal() {
    const double length = std::sqrt(-2. * std::log(uniform(0., 1.)));
    return length * std::cos(uniform(0., 2. * pi));
  }
  bool chance(double probability) { return uniform(0., 1.) < probability; }

 private:
  kernels::PhiloxStream stream_;
};

/// A smooth random field over the plane, values in [0, 1], with detail down to 1 / 2^(octaves - 1).
class Texture {
 public:
  Texture(std::uint64_t key, int octaves) : key_(key), octaves_(octaves) {}

  double operator()(double x, double y) const {
    double sum = 0., weights = 0.;
    for (int octave = 0; octave < octaves_; ++octave) {
      const double scale = std::ldexp(1., octave);
      sum += smooth(octave, x * scale, y * scale) / scale;
      weights += 1. / scale;
    }
    return sum / weights;
  }

 private:
  double lattice(int octave, double x, double y) const {
    const auto column = std::uint64_t(std::int64_t(x)), row = std::uint64_t(std::int64_t(y));
    return to_unit(kernels::mix_key(kernels::mix_key(key_ + octave, column), row));
  }

  double smooth(int octave, double x, double y) const {
    const double x0 = std::floor(x), y0 = std::floor(y);
    const double u = x - x0, v = y - y0;
    const double s = u * u * (3. - 2. * u), t = v * v * (3. - 2. * v);
    return std::lerp(std::lerp(lattice(octave, x0, y0), lattice(octave, x0 + 1., y0), s),
                     std::lerp(lattice(octave, x0, y0 + 1.), lattice(octave, x0 + 1., y0 + 1.), s),
                     t);
  }

  std::uint64_t key_;
  int octaves_;
};

/// An ellipse with a wavy outline.
struct Blob {
  double x, y, radius;
  double stretch = 1., angle = 0.;
  std::array<double, 4> wave{}, phase{};  // of 2 to 5 lobes around the outline

  /// Radius of the outline in `direction`, an angle in the blob's own frame.
  double outline(double direction) const {
    double relative = 1.;
    for (int k = 0; k < 4; ++k) relative += wave[k] * std::cos((k + 2) * direction + phase[k]);
    return radius * relative;
  }

  /// 0 at the centre, 1 on the outline, above 1 outside.
  double level(double px, double py) const {
    const double dx = px - x, dy = py - y;
    const double along = (std::cos(angle) * dx + std::sin(angle) * dy) / stretch;
    const double across = (std::cos(angle) * dy - std::sin(angle) * dx) * stretch;
    return std::hypot(along, across) / outline(std::atan2(across, along));
  }

  /// The point at level `target` in `direction`.
  std::array<double, 2> at(double target, double direction) const {
    const double along = target * outline(direction) * std::cos(direction) * stretch;
    const double across = target * outline(direction) * std::sin(direction) / stretch;
    return {x + std::cos(angle) * along - std::sin(angle) * across,
            y + std::sin(angle) * along + std::cos(angle) * across};
  }

  /// No point of the outline is further from the centre.
  double reach() const {
    double longest = 1.;
    for (double amplitude : wave) longest += std::abs(amplitude);
    return radius * longest * std::max(stretch, 1. / stretch);
  }
};

Blob random_blob(Random& random, double x, double y, double radius, double waviness) {
  Blob blob{x, y, radius, random.uniform(1., 1.3), random.uniform(0., pi)};
  for (int k = 0; k < 4; ++k) {
    blob.wave[k] = random.uniform(-waviness, waviness) / (1. + 0.5 * k);
    blob.phase[k] = random.uniform(0., 2. * pi);
  }
  return blob;
}

struct Canvas {
  Canvas(int size_, int channels_)
      : size(size_), channels(channels_), values(std::size_t(size_) * size_ * channels_) {}

  double* pixel(int x, int y) { return &values[(std::size_t(y) * size + x) * channels]; }

  void blend(int x, int y, const Color& color, double opacity) {
    double* value = pixel(x, y);
    for (int c = 0; c < channels; ++c) value[c] = std::lerp(value[c], color[c], opacity);
  }

  /// Calls paint(x, y, level, coverage) for each pixel the blob covers at least in part.
  template <typename Paint>
  void cover(const Blob& blob, Paint paint) {
    const double reach = blob.reach() + 1.;
    const auto clip = [&](double position) { return int(std::clamp(position, 0., size - 1.)); };
    for (int y = clip(blob.y - reach); y <= clip(blob.y + reach); ++y) {
      for (int x = clip(blob.x - reach); x <= clip(blob.x + reach); ++x) {
        const double level = blob.level(x, y);
        const double coverage = std::clamp((1. - level) * blob.radius + 0.5, 0., 1.);
        if (coverage > 0.) paint(x, y, level, coverage);
      }
    }
  }

  void blur(double sigma) {
    const int radius = int(std::ceil(3. * sigma));
    std::vector<double> weights;
    double total = 0.;
    for (int k = -radius; k <= radius; ++k) {
      weights.push_back(std::exp(-0.5 * k * k / (sigma * sigma)));
      total += weights.back();
    }
    for (const bool along_x : {true, false}) {
      const Canvas source = *this;
      std::fill(values.begin(), values.end(), 0.);
      for (int y = 0; y < size; ++y) {
        for (int x = 0; x < size; ++x) {
          for (int k = -radius; k <= radius; ++k) {
            const int sx = along_x ? std::clamp(x + k, 0, size - 1) : x;
            const int sy = along_x ? y : std::clamp(y + k, 0, size - 1);
            const double weight = weights[k + radius] / total;
            for (int c = 0; c < channels; ++c)
              pixel(x, y)[c] +=
                  weight * source.values[(std::size_t(sy) * size + sx) * channels + c];
          }
        }
      }
    }
  }

  Image image() const {
    Image result{size, size, channels, std::vector<float>(values.size())};
    std::transform(values.begin(), values.end(), result.pixels.begin(),
                   [](double value) { return float(std::clamp(value, 0., 1.)); });
    return result;
  }

  int size, channels;
  std::vector<double> values;
};

/// Whether the blob keeps `gap` from all others.
bool is_free(const Blob& blob, const std::vector<Blob>& others, double gap) {
  return std::all_of(others.begin(), others.end(), [&](const Blob& other) {
    return std::hypot(blob.x - other.x, blob.y - other.y) > blob.reach() + other.reach() + gap;
  });
}

void mark(LabelMap& mask, Canvas& canvas, const Blob& blob) {
  canvas.cover(blob, [&](int x, int y, double level, double) {
    if (level <= 1.) mask.labels[std::size_t(y) * mask.width + x] = 1;
  });
}

// Colours before the stain of the image shifts them.
constexpr Color pink{0.88, 0.62, 0.76}, deep_pink{0.78, 0.46, 0.66}, pale{0.95, 0.91, 0.94};
constexpr Color cytoplasm{0.83, 0.55, 0.74}, purple{0.42, 0.26, 0.56};

void paint_cell_nucleus(Canvas& canvas, Random& random, const Blob& nucleus) {
  const double darkness = random.uniform(0.6, 1.);
  canvas.cover(nucleus, [&](int x, int y, double, double coverage) {
    canvas.blend(x, y, purple, coverage * darkness);
  });
}

/// Pink fibres in one main direction, pale clefts, and thin nuclei scattered along the fibres.
void paint_stroma(Canvas& canvas, Random& random, std::uint64_t key) {
  const double unit = canvas.size / 128.;
  const double direction = random.uniform(0., pi);
  const Texture fibres(key + 1000, 3), clefts(key + 2000, 2), bend(key + 3000, 2);
  for (int y = 0; y < canvas.size; ++y) {
    for (int x = 0; x < canvas.size; ++x) {
      const double u = x / unit, v = y / unit;
      const double turn = direction + 1.5 * bend(u / 60., v / 60.);
      const double along = std::cos(turn) * u + std::sin(turn) * v;
      const double across = std::cos(turn) * v - std::sin(turn) * u;
      canvas.blend(x, y, pink, 1.);
      canvas.blend(x, y, deep_pink, 1.2 * std::max(0., fibres(along / 22., across / 5.) - 0.3));
      const double cleft = clefts(along / 30., across / 11.);
      canvas.blend(x, y, pale, std::clamp((cleft - 0.66) * 12., 0., 0.95));
    }
  }
  const int nuclei = int(random.uniform(70., 190.));
  for (int i = 0; i < nuclei; ++i) {
    Blob nucleus{random.uniform(0., canvas.size), random.uniform(0., canvas.size),
                 unit * random.uniform(0.9, 1.7)};
    nucleus.stretch = random.uniform(1., 1.7);
    nucleus.angle = direction + random.uniform(-0.6, 0.6) +
                    1.5 * bend(nucleus.x / unit / 60., nucleus.y / unit / 60.);
    paint_cell_nucleus(canvas, random, nucleus);
  }
}

/// A pale lumen (some glands are solid) inside a wall of cells whose nuclei sit near the outline.
void paint_gland(Canvas& canvas, Random& random, const Blob& gland, std::uint64_t key) {
  const double unit = canvas.size / 128.;
  const double lumen = random.chance(0.15) ? 0. : random.uniform(0.25, 0.6);
  const Texture grain(key + 4000, 3);
  canvas.cover(gland, [&](int x, int y, double level, double coverage) {
    const double texture = grain(x / unit / 7., y / unit / 7.);
    canvas.blend(x, y, cytoplasm, coverage);
    canvas.blend(x, y, deep_pink, coverage * 0.6 * texture);
    const double edge = lumen * (0.8 + 0.4 * texture);
    const double opening = std::clamp((edge - level) * gland.radius / unit, 0., 1.);
    canvas.blend(x, y, pale, opening * (0.55 + 0.45 * texture));
  });
  const int rows = random.chance(0.5) ? 2 : 1;
  for (int row = 0; row < rows; ++row) {
    const double depth = 0.86 - 0.3 * row * (1. - lumen);
    const int around = int(2. * pi * gland.radius * depth / (unit * random.uniform(3.2, 4.4)));
    for (int i = 0; i < around; ++i) {
      const double direction = 2. * pi * (i + random.uniform(-0.3, 0.3)) / around;
      const auto [x, y] = gland.at(depth + random.uniform(-0.05, 0.05), direction);
      Blob nucleus{x, y, unit * random.uniform(1.2, 2.1)};
      nucleus.stretch = random.uniform(1., 1.4);
      nucleus.angle = gland.angle + direction;  // cells stand on the outline
      paint_cell_nucleus(canvas, random, nucleus);
    }
  }
}

/// Each section takes up stain differently, is lit unevenly and recorded with noise.
void stain_and_record(Canvas& canvas, Random& random, std::uint64_t key) {
  canvas.blur(std::max(0.4, 0.55 * canvas.size / 128.));
  const double strength = random.uniform(0.75, 1.25);
  const Color hue{random.uniform(0.95, 1.03), random.uniform(0.9, 1.05),
                  random.uniform(0.95, 1.03)};
  const Texture light(key + 5000, 1);
  for (int y = 0; y < canvas.size; ++y) {
    for (int x = 0; x < canvas.size; ++x) {
      const double brightness = 0.93 + 0.1 * light(1.5 * x / canvas.size, 1.5 * y / canvas.size);
      double* value = canvas.pixel(x, y);
      for (int c = 0; c < 3; ++c) {
        value[c] = std::pow(value[c], strength) * hue[c] * brightness + 0.018 * random.normal();
      }
    }
  }
}

SyntheticImage make_glands(int size, std::uint64_t key) {
  Random random(key);
  Canvas canvas(size, 3);
  LabelMap mask{size, size, std::vector<std::int32_t>(std::size_t(size) * size)};
  paint_stroma(canvas, random, key);
  const double typical = random.uniform(0.09, 0.19);
  std::vector<Blob> glands;
  for (int attempt = 0; attempt < 60; ++attempt) {
    const double radius = size * typical * random.uniform(0.7, 1.3);
    const double x = random.uniform(0., size), y = random.uniform(0., size);
    const Blob gland = random_blob(random, x, y, radius, 0.12);
    if (!is_free(gland, glands, -0.2 * radius)) continue;
    glands.push_back(gland);
    paint_gland(canvas, random, gland, key + glands.size());
    mark(mask, canvas, gland);
  }
  stain_and_record(canvas, random, key);
  return {canvas.image(), std::move(mask)};
}

SyntheticImage make_nuclei(int size, std::uint64_t key) {
  Random random(key);
  Canvas sharp(size, 1);
  LabelMap mask{size, size, std::vector<std::int32_t>(std::size_t(size) * size)};
  const Texture background(key + 1000, 2), chromatin(key + 2000, 3);
  for (int y = 0; y < size; ++y)
    for (int x = 0; x < size; ++x)
      *sharp.pixel(x, y) = 0.02 + 0.09 * background(2. * x / size, 2. * y / size);

  const double typical = size * random.uniform(0.035, 0.065);
  std::vector<Blob> nuclei;
  const auto paint = [&](const Blob& nucleus) {
    const double brightness =
        random.chance(0.25) ? random.uniform(0.1, 0.2) : random.uniform(0.3, 0.9);
    sharp.cover(nucleus, [&](int x, int y, double level, double coverage) {
      const double texture = chromatin(2.5 * x / typical, 2.5 * y / typical);
      const double profile = (1. - 0.35 * std::min(1., level * level)) * (0.7 + 0.6 * texture);
      double& value = *sharp.pixel(x, y);
      value = std::max(value, std::lerp(value, 0.05 + brightness * profile, coverage));
    });
    mark(mask, sharp, nucleus);
    nuclei.push_back(nucleus);
  };
  const int attempts = int(random.uniform(15., 70.));
  for (int attempt = 0; attempt < attempts; ++attempt) {
    const double radius = typical * random.uniform(0.75, 1.25);
    const double x = random.uniform(0., size), y = random.uniform(0., size);
    const Blob nucleus = random_blob(random, x, y, radius, 0.07);
    if (!is_free(nucleus, nuclei, 1.)) continue;
    if (random.chance(0.35)) {  // a neighbour that touches it
      const double direction = random.uniform(0., 2. * pi);
      const double partner_radius = typical * random.uniform(0.75, 1.25);
      const double distance = 0.92 * (radius + partner_radius);
      const Blob partner = random_blob(random, x + distance * std::cos(direction),
                                       y + distance * std::sin(direction), partner_radius, 0.07);
      if (is_free(partner, nuclei, 1.)) paint(partner);
    }
    paint(nucleus);
  }

  Canvas haze = sharp;  // light from above and below the focal plane
  haze.blur(0.05 * size);
  sharp.blur(std::max(0.5, size / 128.));
  for (std::size_t i = 0; i < sharp.values.size(); ++i) {
    const double light = 0.85 * sharp.values[i] + 0.2 * haze.values[i];
    sharp.values[i] = light + std::sqrt(light / 400. + 6e-5) * random.normal();  // shot and camera
  }
  return {sharp.image(), std::move(mask)};
}

}  // namespace

SyntheticImage synthesise(SyntheticKind kind, int size, std::uint64_t seed, std::uint64_t index) {
  if (size < 16 || size > 8192) {
    throw Error(fmt::format(
        "synthetic images cannot be {} pixels wide; give a size from 16 to 8192", size));
  }
  const std::uint64_t key = kernels::mix_key(kernels::mix_key(seed, index), std::uint64_t(kind));
  return kind == SyntheticKind::glands ? make_glands(size, key) : make_nuclei(size, key);
}

SyntheticSplit write_synthetic_dataset(const std::filesystem::path& folder,
                                       const SyntheticDataset& dataset) {
  if (dataset.count < 2) {
    throw Error(fmt::format("{} images make no train and val part; give a count of at least 2",
                            dataset.count));
  }
  const int val = std::max(1, dataset.count / 5);
  const int train = dataset.count - val;
  NewDatasetFolder made(folder);
  for (int index = 0; index < dataset.count; ++index) {
    const auto [image, mask] = synthesise(dataset.kind, dataset.size, dataset.seed, index);
    const std::filesystem::path part = made.path() / (index < train ? "train" : "val");
    const std::string name = fmt::format("synth_{:04}.png", index + 1);
    write_png(part / "image" / name, image);
    write_mask(part / "mask" / name, mask, true);
  }
  made.finish();
  return {train, val};
}

}  // namespace anaphase::io
