/* The NPU through Arm's Ethos-U core driver. */
#ifndef NPU_H
#define NPU_H

/* Bring up the driver and its interrupt. 0: done. */
int npu_init(void);

/* Execute the model's command stream on the arena and wait for its end. 0: done. The caller sees to the cache. */
int npu_run(void);

#endif
