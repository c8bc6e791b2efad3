// Draw the figures to explore, and say below each, in words, what is chosen: for a phone, and for who does not see it.
const share = (value) => (Number.isFinite(value) ? value.toFixed(3).replace(/^0/, "") : "not defined");
const count = (value) => Math.round(value).toLocaleString("en");
const SAID = {
  threshold: (d) =>
    `Of 1,000 children ${count(d.ill)} are ill: ${count(d.found)} are found, ${count(d.missed)} are missed. ` +
    `${count(d.alarms)} of ${count(d.well)} who are well are called ill. ` +
    `Of those called ill, ${share(d.ppv)} are (predictive value of a positive answer); ` +
    `of those called well, ${share(d.npv)} are. ` +
    `Cost: ${count(d.loss)} false alarms. At the cheapest threshold: ${count(d.best)}.`,
  interval: (d) =>
    `With ${count(d.n)} images: ${d.measure} ${share(d.value)}, 95% of draws from ${share(d.low)} to ${share(d.high)}, ` +
    `${d.width.toFixed(1)} points wide.`,
};
const explored = {};

for (const [name, words] of Object.entries(SAID)) {
  const place = document.getElementById(name);
  vegaEmbed(place, EXPLORE[name], { actions: false, renderer: "svg" }).then(({ view, vgSpec }) => {
    const data = vgSpec.data.map((one) => one.name).find((one) => (view.data(one)[0] || {}).chosen);
    const said = document.createElement("p");
    said.setAttribute("role", "status");
    place.after(said);
    const say = () => { said.textContent = words(view.data(data)[0]); };
    view.addDataListener(data, say);
    say();
    explored[name] = { view, row: () => view.data(data)[0] };
  });
}
