#include "lane_table.h"

struct fake_table lane_table;

int lane_table_new(void **state)
{
    fake_table_init(&lane_table);
    return lane_rig_new(state);
}

int lane_table_free(void **state)
{
    int failed = lane_rig_free(state);

    fake_table_free(&lane_table);
    return failed;
}
