/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ANAPHASE_H
#define ANAPHASE_H

/* Segmentation of images with a trained model, inside another program.
 *
 *   anaphase_model *model;
 *   anaphase_session *session;
 *   char error[ANAPHASE_ERROR_SIZE];
 *   if (anaphase_model_open("model.safetensors", "cpu", &model, error, sizeof error) ||
 *       anaphase_session_create(model, 1, 512, 512, NULL, &session, error, sizeof error))
 *     return puts(error);
 *   anaphase_run_mask(session, pixels, 0, 0, mask, 0, 0);
 *
 * Images are interleaved 8-bit pixels of as many channels as the model has (3: red, green, blue),
 * top row first. A mask is one byte a pixel, the class id; probabilities are `classes` floats a
 * pixel, class 0 (the background) first. Each pixel of an image has one in the result: images are
 * not resized.
 *
 * Strides are in bytes, from a row to the next and from an image of the batch to the next; 0 stands
 * for memory without gaps. Gaps are neither read nor written. A result may lie in the memory of its
 * image.
 *
 * Threads: a model may be used by any number of threads at once; a session by one at a time, but
 * any number of sessions at once. A run takes no lock and allocates no memory; everything is made
 * by anaphase_session_create, which runs once to warm up. (The first run of a thread other than
 * that one starts OpenMP's threads for it, unless the session has threads=1.)
 *
 * Errors: functions that can fail return a status; nothing else of this library is thrown, printed
 * or kept in global variables. With it comes one sentence that names the thing at fault and the
 * remedy: in `error` for anaphase_model_open and anaphase_session_create, and from
 * anaphase_session_error for runs. A null pointer where memory or a handle is wanted is an error
 * like others; handles that have been closed and memory that is smaller than sizes and strides say
 * cannot be noticed. */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ANAPHASE_VERSION_MAJOR 0
#define ANAPHASE_VERSION_MINOR 1
#define ANAPHASE_VERSION_PATCH 0

/* Enough for every sentence; longer ones (of long paths) are cut off. */
#define ANAPHASE_ERROR_SIZE 512

typedef enum anaphase_status {
  ANAPHASE_OK = 0,
  ANAPHASE_INVALID_ARGUMENT = 1, /* a null pointer, an impossible size, stride or option */
  ANAPHASE_FILE_NOT_FOUND = 2,   /* no file of that name, or it may not be read */
  ANAPHASE_BAD_FILE = 3,         /* not a model file, or a damaged one */
  ANAPHASE_WRONG_VERSION = 4,    /* a model file of a format that this version does not read */
  ANAPHASE_NO_DEVICE = 5,        /* the device is not there, or cannot run the model */
  ANAPHASE_OUT_OF_MEMORY = 6,    /* of the device or the host */
  ANAPHASE_UNSUPPORTED = 7,      /* the session's device has no such function */
  ANAPHASE_FAILED = 8            /* the device failed; or a mistake in the library */
} anaphase_status;

typedef struct anaphase_model anaphase_model;
typedef struct anaphase_session anaphase_session;

/* Version of the library that runs, as "0.1.0". */
const char* anaphase_version(void);
/* The status's name, as "ANAPHASE_OK". */
const char* anaphase_status_name(anaphase_status status);

/* Opens a model file, or the model.safetensors of a run folder, for a device: "cpu", "cuda",
 * "cuda:1" and so on, or "auto" (also NULL), which is cuda where there is one, else cpu. The file
 * stays open: a session reads the weights of the networks that it is the first to use, and what no
 * session uses takes no memory. (Another file may take its name meanwhile.) The model computes in
 * the precision that it was trained in, or in another: "cpu,precision=f32", tf32 or bf16 (on a
 * processor with AVX-512). `*model` is NULL after an error. `error` takes its sentence, cut to
 * `error_size` bytes with the ending 0, and is empty otherwise; NULL where it is not wanted. */
anaphase_status anaphase_model_open(const char* path, const char* device, anaphase_model** model,
                                    char* error, size_t error_size);
/* Sessions keep what they need of a model: it may be closed before them. NULL is left alone. */
void anaphase_model_close(anaphase_model* model);

/* Of a model; 0 or NULL for NULL. */
int anaphase_model_channels(const anaphase_model* model); /* of an image: 1 or 3 */
int anaphase_model_classes(const anaphase_model* model);  /* 2 to 255, background included */
/* Height and width of the images it was trained on. Others work, but objects should have the size
 * in pixels that they had there. */
int anaphase_model_size(const anaphase_model* model);
/* What height and width of a session have to be multiples of. */
int anaphase_model_size_multiple(const anaphase_model* model);
const char* anaphase_model_device(const anaphase_model* model); /* "cpu", "cuda:0" */

/* Memory and programs for batches of `batch` images of `height` x `width` pixels. `options` is NULL
 * or a list as "steps=4,sampler=dpm": how masks are made, where that is to differ from the model's
 * own configuration:
 *   with      students (their mean, where there are two) or teacher
 *   steps     denoising steps for a mask; 1 is one pass of the network
 *   sampler   how more than one step go: ddim, dpm or ddpm
 *   draws     average so many masks, each from noise of its own
 *   timestep  of one-step generation
 *   seed      of the noise; the same seed gives the same masks
 *   threads   of the processor for a run, 0 for as many as OpenMP takes (the default); it has no
 *             influence on results
 * `*session` is NULL after an error; `error` as for anaphase_model_open. */
anaphase_status anaphase_session_create(anaphase_model* model, int batch, int height, int width,
                                        const char* options, anaphase_session** session,
                                        char* error, size_t error_size);
/* Waits for its runs. NULL is left alone. */
void anaphase_session_destroy(anaphase_session* session);

/* The sentence of the session's last run if that failed, else "". It stays until the next run. */
const char* anaphase_session_error(const anaphase_session* session);

/* From `batch` images in the host's memory to masks there. */
anaphase_status anaphase_run_mask(anaphase_session* session, const uint8_t* images,
                                  size_t image_row_stride, size_t image_stride, uint8_t* masks,
                                  size_t mask_row_stride, size_t mask_stride);

/* To class probabilities; their strides are multiples of 4. */
anaphase_status anaphase_run_probabilities(anaphase_session* session, const uint8_t* images,
                                           size_t image_row_stride, size_t image_stride,
                                           float* probabilities, size_t probability_row_stride,
                                           size_t probability_stride);

/* The same on a CUDA device, from and to memory of that device, enqueued: the run takes place after
 * what `stream` (a cudaStream_t of the session's device; NULL is the default stream) has been given
 * before, and what it is given afterwards takes place after the run. The calling thread does not
 * wait. Runs of one session take place one after the other. A failure of the device may show
 * in a later call. ANAPHASE_UNSUPPORTED for a session on the processor. */
anaphase_status anaphase_run_mask_async(anaphase_session* session, const uint8_t* images,
                                        size_t image_row_stride, size_t image_stride,
                                        uint8_t* masks, size_t mask_row_stride, size_t mask_stride,
                                        void* stream);
anaphase_status anaphase_run_probabilities_async(anaphase_session* session, const uint8_t* images,
                                                 size_t image_row_stride, size_t image_stride,
                                                 float* probabilities,
                                                 size_t probability_row_stride,
                                                 size_t probability_stride, void* stream);

#ifdef __cplusplus
}
#endif

#endif
