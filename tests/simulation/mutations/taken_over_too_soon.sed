# connectors/kafka/takeover.c: say in the first commit that all is taken over
s/low < takeover->end ? TAKING_OVER : ""/""/
