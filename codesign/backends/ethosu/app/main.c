/* Brings up the NPU, runs the self-test, and ends with its result. */
#include "npu.h"
#include "port.h"
#include "selftest.h"

/* Of the self-test: how many output bytes differ, or what failed (selftest.h). For the debugger. */
volatile int32_t selftest_result = SELFTEST_NPU_MISSING;

static _Noreturn void finish(int32_t result)
{
    if (result == SELFTEST_NPU_MISSING)
        port_exit(2, "self-test: the driver found no NPU\n");
    if (result == SELFTEST_RUN_FAILED)
        port_exit(2, "self-test: a run failed; is this the NPU that the model was compiled for?\n");
    if (result != 0)
        port_exit(1, "self-test: outputs differ from the golden ones\n");
    port_exit(0, "self-test: every output byte is golden\n");
}

int main(void)
{
    if (npu_init() == 0)
        selftest_result = selftest(npu_run);
    finish(selftest_result);
}
