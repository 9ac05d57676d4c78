// Runs before MLflow's page: it opens the runs of a study, and keeps notes that hide them closed.
(() => {
  const settings = {
    "mlflow.workflowType_v1": '"machine_learning"',
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
    "mlflow.telemetry.info.alert.dismissed_v1": "true",
    "mlflow.home.getting-started.collapsed_v1": "true",
  };
  for (const [name, value] of Object.entries(settings)) {
    if (localStorage.getItem(name) === null) localStorage.setItem(name, value);
  }

  const post = async (path, body) => {
    const answer = await fetch(`ajax-api/2.0/mlflow/${path}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    return answer.json();
  };

  // The view that an experiment opens with: a benchmark has models, a study has scores.
  const tagOf = (experiment, name) => (experiment.tags ?? []).find((tag) => tag.key === name)?.value;
  const viewOf = (experiment) =>
    ["models", "scores"].find((view) => tagOf(experiment, `mlflow.sharedViewState.${view}`));
  const tabulated = (experiment) => Number(tagOf(experiment, "odevae.tabulated") ?? 0);
  const addressOf = (id, view) => `#/experiments/${id}/runs?workflowType=machine_learning&viewStateShareKey=${view}`;
  const experiments = async () => (await post("experiments/search", { max_results: 1000 })).experiments ?? [];

  const openNewest = async () => {
    const ours = (await experiments()).filter(viewOf);
    if (!ours.length) {
      location.hash = "#/experiments?workflowType=machine_learning";
      return;
    }
    const [newest] = ours.sort((one, other) => tabulated(other) - tabulated(one));
    location.hash = addressOf(newest.experiment_id, viewOf(newest));
  };
  if (["", "#", "#/"].includes(location.hash)) openNewest();

  // A click on an experiment opens its view too.
  document.addEventListener(
    "click",
    (event) => {
      const link = event.target.closest?.("a[href]");
      const id = link && /#\/experiments\/(\d+)(\/runs)?(\?[^/]*)?$/.exec(link.getAttribute("href"))?.[1];
      if (!id || link.href.includes("viewStateShareKey") || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      event.stopPropagation();
      experiments().then((all) => {
        const view = viewOf(all.find((one) => one.experiment_id === id) ?? {});
        location.hash = view ? addressOf(id, view) : `#/experiments/${id}/runs?workflowType=machine_learning`;
      });
    },
    true,
  );
})();
