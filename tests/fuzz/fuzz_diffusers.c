/* libFuzzer target: any bytes as config.json beside diffusers' weights of a DiT of one block. */
#include "fuzz_folder.h"

#include "container/safetensors.h"
#include "container/tensor_open.h"
#include "model/dit/dit_diffusers.h"
#include "model/file/kind.h"

enum { WIDTH = 8, NAMES_MAX = 32 };

/* A view reads no shape but the first dimension of qkv and of the positions' bias. */
static void make_weights(void)
{
    static const char *const names[] = {"x_embedder.proj.weight",
                                        "x_embedder.proj.bias",
                                        "final_layer.adaLN_modulation.1.weight",
                                        "final_layer.adaLN_modulation.1.bias",
                                        "final_layer.linear.weight",
                                        "final_layer.linear.bias",
                                        "t_embedder.mlp.0.weight",
                                        "t_embedder.mlp.0.bias",
                                        "t_embedder.mlp.2.weight",
                                        "t_embedder.mlp.2.bias",
                                        "y_embedder.embedding_table.weight",
                                        "blocks.0.adaLN_modulation.1.weight",
                                        "blocks.0.adaLN_modulation.1.bias",
                                        "blocks.0.attn.qkv.weight",
                                        "blocks.0.attn.qkv.bias",
                                        "blocks.0.attn.proj.weight",
                                        "blocks.0.attn.proj.bias",
                                        "blocks.0.mlp.fc1.weight",
                                        "blocks.0.mlp.fc1.bias",
                                        "blocks.0.mlp.fc2.weight",
                                        "blocks.0.mlp.fc2.bias"};
    enum { COUNT = sizeof names / sizeof *names };
    static const float values[3 * WIDTH];
    static const int64_t plain = WIDTH, threefold = 3 * WIDTH;
    tensor_source own[COUNT], out[NAMES_MAX];
    alias_name out_names[NAMES_MAX];
    int64_t dims[NAMES_MAX][4];
    dt_error err = {0};
    for (int i = 0; i < COUNT; i++)
        own[i] = (tensor_source){.name = names[i],
                                 .dtype = SAFETENSORS_F32,
                                 .dim_count = 1,
                                 .dims = strstr(names[i], "qkv") ? &threefold : &plain,
                                 .values = values};
    assert(alias_count(&dit_diffusers_names, 1) <= NAMES_MAX);
    alias_sources(out, out_names, dims, &dit_diffusers_names, own, COUNT, 1);
    assert(safetensors_write(fuzz_path(DIFFUSERS_WEIGHTS), out, (size_t)alias_count(&dit_diffusers_names, 1), NULL, 0,
                             NULL, &err) == DT_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dt_error err = {0};
    tensor_file f;
    static bool made;
    if (!made) make_weights();
    made = true;
    fuzz_put(DIFFUSERS_CONFIG, (fuzz_bytes){data, size});
    assert(tensor_file_open(&f, fuzz_path(DIFFUSERS_WEIGHTS), &err) == DT_OK && dit_diffusers_fits(&f));
    if (dit_diffusers_view(&f, &err) == DT_OK) {
        const tensor_entry *positions = tensor_file_find(&f, "pos_embed");
        assert(positions && positions->dims[2] == WIDTH && tensor_file_metadata(&f, "difftune.heads"));
    }
    fuzz_check_error(&err);
    tensor_file_close(&f);
    return 0;
}
