# From records to an answer: one table, one decision, one page, one experiment in MLflow.


rule decide:
    input:
        plan="results/plan.json",
        first_looks=layout.FIRST_LOOKS,
        verdict=search.verdict_files,
        confirmations=[f"results/confirmations/{device}.json" for device in plan.devices],
        inventories=[layout.inventory_file(device) for device in plan.described_devices],
        training=RUN_TABLE,
    output:
        table=report(
            "reports/combinations.csv",
            caption="../report/combinations.rst",
            category="Results",
            labels={"file": "every combination"},
        ),
        recommendation=report(
            "reports/recommendation.json",
            caption="../report/recommendation.rst",
            category="Results",
            labels={"file": "the recommendation, for machines"},
        ),
        configurations=CONFIGURATION_TABLE,
    params:
        training=TRAINING_OPTIONS,
    log:
        "logs/decide.log",
    conda:
        CONTROL_YAML
    localrule: True
    shell:
        '"$HWFIT_PYTHON" -m hwfit decide --plan {input.plan:q} --table {output.table:q}'
        " --recommendation {output.recommendation:q} {params.training} > {log:q} 2>&1"


rule archive_measurements:
    input:
        plan="results/plan.json",
        first_looks=layout.FIRST_LOOKS,
        confirmations=[f"results/confirmations/{device}.json" for device in plan.devices],
        inventories=[layout.inventory_file(device) for device in plan.described_devices],
        training=RUN_TABLE,
    output:
        # Not in Snakemake's own report: every sample of a large sweep would be inside it.
        "reports/measurements.zip",
    log:
        "logs/archive.log",
    conda:
        CONTROL_YAML
    localrule: True
    shell:
        '"$HWFIT_PYTHON" -m hwfit archive --plan {input.plan:q} --output {output:q} > {log:q} 2>&1'


rule write_report:
    input:
        plan="results/plan.json",
        table="reports/combinations.csv",
        recommendation="reports/recommendation.json",
        measurements="reports/measurements.zip",
        training=[*RUN_TABLE, *CONFIGURATION_TABLE],
    output:
        report(
            "reports/hardware-selection.html",
            caption="../report/hardware-selection.rst",
            category="Report",
            labels={"file": "hardware selection"},
        ),
    params:
        language=study.config.report.language,
        training=TRAINING_OPTIONS,
    log:
        "logs/report.log",
    conda:
        CONTROL_YAML
    localrule: True
    shell:
        '"$HWFIT_PYTHON" -m hwfit report --plan {input.plan:q} --table {input.table:q}'
        " --recommendation {input.recommendation:q} --measurements {input.measurements:q}"
        " --language {params.language:q} {params.training} --output {output:q} > {log:q} 2>&1"


rule track:
    input:
        plan="results/plan.json",
        table="reports/combinations.csv",
        recommendation="reports/recommendation.json",
        report="reports/hardware-selection.html",
        training=[*RUN_TABLE, *CONFIGURATION_TABLE],
    output:
        "results/tracking.json",
    params:
        training=TRAINING_OPTIONS,
    log:
        "logs/track.log",
    conda:
        CONTROL_YAML
    localrule: True
    shell:
        '"$HWFIT_PYTHON" -m hwfit track --plan {input.plan:q} --table {input.table:q}'
        " --recommendation {input.recommendation:q} --report {input.report:q}"
        " {params.training} --output {output:q} > {log:q} 2>&1"
