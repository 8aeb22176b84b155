{{ config(materialized="table") }}

select client, count(*) as orders
from {{ ref("raw_orders") }}
group by client
