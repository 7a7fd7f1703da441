-- Circuit breakers, shared by all workers.

select 1;
