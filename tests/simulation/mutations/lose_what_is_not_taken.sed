# gateway/core/outlet.c: forget what a full sink did not take
/^static void put_back/,/^}/ s/for (size_t i = count; i-- > 0;)/for (size_t i = 0; i-- > 0;)/
