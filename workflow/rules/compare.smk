# Whether something became worse: `snakemake compare --config against=DIRECTORY` or `against=mlflow:SWEEP`.
#
# Neither inputs, so that what was measured is compared as it is and nothing is measured again, nor outputs,
# so that it runs whenever it is asked for, and a job that fails since something is worse leaves its files.


rule compare:
    params:
        options=COMPARISON_OPTIONS,
    log:
        "logs/compare.log",
    conda:
        CONTROL_YAML
    localrule: True
    retries: 0
    shell:
        '"$HWFIT_PYTHON" -m hwfit compare {params.options:q} 2>&1 | tee {log:q}'
