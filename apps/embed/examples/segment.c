/* SPDX-License-Identifier: Apache-2.0 */
/* Segments one image: segment MODEL IMAGE MASK [DEVICE]. IMAGE is a binary PGM (P5) or PPM (P6)
 * with 8 bits a channel and as many channels as the model has, MASK a PGM of the class ids. The
 * network wants sides that are multiples of some number: what is left over at the right and the
 * bottom is filled with the edge's pixels. */

#include <anaphase.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int round_up(int value, int multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

/* Pixels [height, width, channels] in rows of `*stride` bytes, of `multiple` sides; NULL where the
 * file is no such image. */
static unsigned char* read_image(const char* path, int channels, int multiple, int* height,
                                 int* width, int* stride) {
  FILE* file = fopen(path, "rb");
  char kind = 0;
  int most = 0;
  if (!file) return NULL;
  unsigned char* pixels = NULL;
  if (fscanf(file, "P%c %d %d %d", &kind, width, height, &most) == 4 && fgetc(file) != EOF &&
      kind == (channels == 3 ? '6' : '5') && most == 255 && *width > 0 && *height > 0 &&
      *width <= 32768 && *height <= 32768) {
    const int padded_width = round_up(*width, multiple),
              padded_height = round_up(*height, multiple);
    *stride = padded_width * channels;
    pixels = malloc((size_t)padded_height * *stride);
    for (int y = 0; pixels && y < padded_height; ++y) {
      unsigned char* row = pixels + (size_t)y * *stride;
      if (y >= *height)
        memcpy(row, row - *stride, *stride);
      else if (fread(row, channels, *width, file) != (size_t)*width) {
        free(pixels);
        pixels = NULL;
      } else
        for (int i = *width * channels; i < *stride; ++i) row[i] = row[i - channels];
    }
  }
  fclose(file);
  return pixels;
}

static int write_mask(const char* path, const unsigned char* mask, int height, int width,
                      int stride) {
  FILE* file = fopen(path, "wb");
  if (!file) return 0;
  int fine = fprintf(file, "P5\n%d %d\n255\n", width, height) > 0;
  for (int y = 0; y < height; ++y)
    fine &= fwrite(mask + (size_t)y * stride, 1, width, file) == (size_t)width;
  return !fclose(file) && fine;
}

int main(int count, char** arguments) {
  char error[ANAPHASE_ERROR_SIZE];
  anaphase_model* model = NULL;
  anaphase_session* session = NULL;
  unsigned char *pixels = NULL, *mask = NULL;
  int height, width, stride, result = 1;
  if (count < 4) {
    fprintf(stderr, "usage: %s MODEL IMAGE MASK [DEVICE]\n", arguments[0]);
    return 2;
  }
  if (anaphase_model_open(arguments[1], count > 4 ? arguments[4] : "auto", &model, error,
                          sizeof error)) {
    fprintf(stderr, "%s\n", error);
    return 1;
  }
  const int channels = anaphase_model_channels(model);
  const int multiple = anaphase_model_size_multiple(model);
  pixels = read_image(arguments[2], channels, multiple, &height, &width, &stride);
  if (!pixels) {
    fprintf(stderr, "%s is not a binary %s with 8 bits a channel\n", arguments[2],
            channels == 3 ? "PPM" : "PGM");
  } else if (anaphase_session_create(model, 1, round_up(height, multiple),
                                     round_up(width, multiple), NULL, &session, error,
                                     sizeof error)) {
    fprintf(stderr, "%s\n", error);
  } else {
    const int mask_stride = stride / channels;
    mask = malloc((size_t)mask_stride * round_up(height, multiple));
    if (mask && anaphase_run_mask(session, pixels, stride, 0, mask, mask_stride, 0))
      fprintf(stderr, "%s\n", anaphase_session_error(session));
    else if (!mask || !write_mask(arguments[3], mask, height, width, mask_stride))
      fprintf(stderr, "cannot write %s\n", arguments[3]);
    else
      result = 0;
  }
  free(mask);
  free(pixels);
  anaphase_session_destroy(session);
  anaphase_model_close(model);
  return result;
}
