/* Number types of tensors in files, by the names safetensors gives them; other containers are read into the same list. */
#ifndef CONTAINER_DTYPE_H
#define CONTAINER_DTYPE_H

/* In the safetensors library's order, which is also the order of the data in such a file, from the last to the first. */
typedef enum safetensors_dtype {
    SAFETENSORS_BOOL,
    SAFETENSORS_F4,
    SAFETENSORS_F6_E2M3,
    SAFETENSORS_F6_E3M2,
    SAFETENSORS_U8,
    SAFETENSORS_I8,
    SAFETENSORS_F8_E5M2,
    SAFETENSORS_F8_E4M3,
    SAFETENSORS_F8_E8M0,
    SAFETENSORS_F8_E4M3FNUZ,
    SAFETENSORS_F8_E5M2FNUZ,
    SAFETENSORS_I16,
    SAFETENSORS_U16,
    SAFETENSORS_F16,
    SAFETENSORS_BF16,
    SAFETENSORS_I32,
    SAFETENSORS_U32,
    SAFETENSORS_F32,
    SAFETENSORS_C64,
    SAFETENSORS_F64,
    SAFETENSORS_I64,
    SAFETENSORS_U64,
    SAFETENSORS_DTYPE_COUNT
} safetensors_dtype;

/* The name in the file, e.g. "BF16". */
const char *safetensors_dtype_name(safetensors_dtype dtype);
int safetensors_dtype_bits(safetensors_dtype dtype);

#endif
