# What was chosen becomes a registered model of MLflow: asked for by name, since it is for whoever deploys.


rule register:
    input:
        plan="results/plan.json",
        recommendation="reports/recommendation.json",
        tracking="results/tracking.json",
    output:
        "results/registered.json",
    log:
        "logs/register.log",
    conda:
        CONTROL_YAML
    localrule: True
    shell:
        '"$HWFIT_PYTHON" -m hwfit register --plan {input.plan:q} --recommendation {input.recommendation:q}'
        " --output {output:q} 2>&1 | tee {log:q}"  # what it says is what the user asked for
