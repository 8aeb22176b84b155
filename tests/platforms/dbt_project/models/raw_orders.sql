{{ config(materialized="table") }}

select 1 as order_id, 'Acme' as client
union all
select 2, 'Globex'
{% if var("twice", false) %}
union all
select 2, 'Globex'
{% endif %}
