# tests/simulation/process.c: let letters of one sender overtake each other
/^void process_mail/,/^}/ s/host->letters\[i\].sender == sender \&\& /false \&\& /
