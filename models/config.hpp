// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace anaphase::models {

/// How masks are made with trained networks.
struct InferenceOptions {
  std::string with = "students";  // students | teacher
  int steps = 1;                  // network calls for one mask
  std::string sampler = "ddim";   // of more than one step: ddim | ddpm | dpm
  int draws = 1;                  // masks averaged, each from noise of its own
  int timestep = -1;              // of one-step generation; -1: T - 1
  std::uint64_t seed = 0;
};

/// Everything that decides a run, with its defaults. Keys are the names below with a dot, as in
/// `rounds.count`; a run saves all of them in its config.toml. Letters as in docs/method.md.
struct Config {
  struct {
    std::string path;            // data set folder
    std::string labels = "10%";  // share or number of labelled training images
    int size = 128;              // images are resized to size x size
    int classes = 0;             // 0: found in the masks
    bool augment = true;         // flips, transposition, rotation by 90 degrees
    double jitter = 0;           // strength of brightness and contrast changes
    double held_out = 0;  // share of the labelled images that picks the checkpoint; 0: the last one
  } data;
  struct {
    std::string architecture = "unet";  // unet | plain
    int width = 16;                     // channels at full resolution
    std::string norm = "batch";         // of plain: batch | group
    double dropout = 1;                 // of plain: multiplies its rates of 0.05 to 0.4
  } network;
  struct {
    std::string schedule = "sigmoid";  // sigmoid | linear | cosine
    int steps = 1000;                  // T
    std::string empty_mask =
        "zeros";  // what carries no information: zeros | background | minus_one
  } diffusion;
  struct {
    int count = 2;          // twin students, or one
    bool denoising = true;  // false: no noise input, no timestep
  } student;
  struct {
    int epochs = 20;  // passes over all training images; 0: no stage 1
    double learning_rate = 1e-3;
    double balance = 0.1;  // weight of the guard against one-class masks
    int image_t_min = 0;   // lowest t' of the image pathway in stage 1
  } pretrain;
  struct {
    int count = 3;                    // R; 0: no rounds
    std::string mode = "sequential";  // sequential | independent
    std::string pseudo_label =
        "first";                 // the students learn from: first (tau) | mean (over rounds)
    double weight = 1;           // lambda
    bool reconstruction = true;  // the rec_r terms
  } rounds;
  struct {
    double unlabelled_weight = 1;  // w
    double twin_weight = 1;        // mu
    double confidence = 0;         // pseudo-labels below this probability are left out
    double teacher_average =
        0;  // decay of an averaged teacher that makes the pseudo-labels; 0: none
    std::string loss = "dice";  // dice | dice_ce
  } co_training;
  struct {
    std::string method = "co-training";  // co-training | supervised
    int epochs = 200;                    // passes over the labelled images
    int steps = 0;                       // optimiser steps; 0: by epochs
    int batch = 8;                       // labelled, and as many unlabelled
    std::string optimizer = "adamw";     // adamw | sgd
    double learning_rate = 1e-3;
    std::string schedule = "cosine";  // constant | step | cosine
    double warmup = 0.05;             // share of the steps
    double weight_decay = 1e-4;
    double clip_norm = 1;  // 0: no clipping
    std::uint64_t seed = 0;
    std::string precision = "f32";  // f32 | tf32 | bf16
    int validations = 20;           // how often the validation images are scored
  } training;
  InferenceOptions inference;

  /// Width by name: tiny 16, small 32, paper 64. Throws Error for another name.
  void apply_preset(std::string_view name);
  /// `value` as TOML writes it; strings may do without quotes. Throws Error for an unknown key
  /// (naming the nearest) or a value of the wrong type or range; it begins with `origin`, where the
  /// value came from.
  void set(std::string_view key, std::string_view value, std::string_view origin = "--set");
  /// Reads keys from a TOML file; keys that it lacks keep their values.
  void read(const std::filesystem::path& file);
  void read_text(std::string_view toml, std::string_view origin);
  std::string to_toml() const;
  /// Throws Error for values that do not fit together.
  void validate() const;
  /// What height and width of an image have to be a multiple of, for the network's levels to meet.
  int size_multiple() const;

  static std::vector<std::string> keys();
};

/// The candidate with the fewest edits to `word`.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace anaphase::models
