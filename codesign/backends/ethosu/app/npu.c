#include "npu.h"

#include "model.h"
#include "port.h"

#if __has_include("ethosu_driver.h")
#include "ethosu_driver.h"
#else
#include "driver_api.h"
#endif

static struct ethosu_driver driver;

/* The vector table of startup.c calls this. */
void npu_interrupt(void)
{
    ethosu_irq_handler(&driver);
}

int npu_init(void)
{
    /* No fast memory here: npu_run hands the region of the NPU's cache over like the others. */
    int error = ethosu_init(&driver, (void *)(uintptr_t)PORT_NPU_BASE, NULL, 0, PORT_NPU_SECURE, PORT_NPU_PRIVILEGED);

    if (error == 0)
        port_enable_npu_interrupt();
    return error;
}

int npu_run(void)
{
    uint64_t bases[MODEL_REGIONS];
    size_t sizes[MODEL_REGIONS];

    for (int region = 0; region < MODEL_REGIONS; region++) {
        bases[region] = (uintptr_t)model_regions[region].base;
        sizes[region] = model_regions[region].bytes;
    }
    return ethosu_invoke_v3(&driver, model_command_stream, MODEL_COMMAND_STREAM_BYTES, bases, sizes, MODEL_REGIONS,
                            NULL);
}
