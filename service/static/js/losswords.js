/** What losses and their parameters are in Chinese; the English is what `GET /losses` tells. */

import { language } from "./i18n.js";

const KIND = "整数目标的形状有歧义时如何解读；默认按类型与形状判断";
const OTHER = "第二张图 R 的 query、key 与 scale；P 为请求本身的图";
const TEMPERATURE = "两图的分数都除以它";
const compat = (how) => `按该实现计算，包括其归约方式：${how}`;

/** @type {Record<string, Record<string, string>>} loss → summary, formula where it has words, help of each parameter */
const CHINESE = {
  entropy: {
    summary: "每个查询的权重有多分散：集中于一个键为 0，均匀时为 log m。",
    compat: compat("各头平均图的 softmax 的负熵（Attanasio 2022）"),
  },
  normalized_entropy: { summary: "熵占可见键所能达到的最大熵的比例：0 到 1。", formula: "H_i / log M_i，M_i 为可见键数；M_i = 1 时为 0" },
  target_entropy: { summary: "熵与目标值之差的平方。", tau: "目标熵，单位奈特" },
  renyi: { summary: "Rényi 熵；阶数越大，越只看重大的权重。", alpha: "阶数；1 即为熵" },
  collision: { summary: "2 阶 Rényi 熵。" },
  row_sum: { summary: "文章的示例代码，保留以供检验：softmax 各行之和为 1，因此恒为 0。" },
  cross_entropy: {
    summary: "权重与要学习的目标（或文章中的 probability）之间的距离。",
    formula: "目标：−Σ_j target_ij·log p_ij；probability：−Σ_j p_ij·log probability_ij",
    target: "每个查询的键、键上的分布，或其中若干个键",
    target_weights: "使目标稀疏：所列每个键的份额",
    probability: "对数内的分布，每个查询一行",
    kind: KIND,
    eps: "以 log(max(x, eps)) 代替 log(x)",
    smoothing: "可见键上均匀目标的份额",
    compat: compat("对查询求和；opennmt 将权重截断到不小于 1e-18"),
  },
  entmax: { summary: "α-entmax 版的交叉熵，其权重可以恰为 0。", target: "每个查询的键，或键上的分布", kind: KIND, alpha: "entmax 的 α" },
  sparsemax: { summary: "sparsemax 版的交叉熵：目标的分数领先 1 时为 0。", target: "每个查询的键，或键上的分布", kind: KIND },
  permutation: { summary: "每个查询关注自己的键，且该键只被关注一次。", target: "每个查询应关注的键", penalty: "各键所收权重一项的系数" },
  order: { summary: "平均关注位置与给定位置之差的平方。", target: "每个查询在键中的一个位置" },
  guided: {
    summary: "权重偏离对角线的代价。",
    sigma: "对角线的宽度；默认 0.4，compat 为 speechbrain 时 0.2",
    compat: compat("对有效单元求平均；speechbrain 对全部单元（含填充）求平均"),
  },
  monotonic: { summary: "相邻查询之间，平均关注位置后退了多少。" },
  distance: { summary: "查询关注的平均距离（以词元计，末尾对齐）。" },
  variance: { summary: "关注位置的方差。" },
  sink: { summary: "流向少数选定键的权重，默认为第一个键。", keys: "选定的键" },
  coverage: { summary: "每个查询的权重与之前所有查询的重叠。" },
  doubly_stochastic: { summary: "每个键所收权重与 1 之差的平方。", formula: "Σ_j (1 − Σ_i p_ij)²，逐头" },
  forward_sum: {
    summary: "对数权重上的 CTC：对按顺序经过各键的所有路径求和。",
    formula: "−log Σ_π Π_i q_{i,π_i}，q = softmax([空白, log p])，逐头",
    blank: "空白的对数概率",
    compat: compat("除以键数，无穷大计为 0，再对批次求平均"),
  },
  bin: { summary: "与硬性单调对齐的交叉熵；未给出对齐时由权重求得。", target: "每个查询的键；默认为经过所有键的最可能路径", eps: "以 log(max(p, eps)) 代替 log(p)" },
  kl: {
    summary: "此图相对另一张图的 KL 散度。",
    other: OTHER,
    temperature: TEMPERATURE,
    compat: compat("KL(R‖P)，先对序列的头与查询求平均，再对序列求平均"),
  },
  reverse_kl: { summary: "另一张图相对此图的 KL 散度：以 R 为教师的蒸馏。", other: OTHER, temperature: TEMPERATURE },
  js: { summary: "JS 散度：对称，0 到 log 2。", other: OTHER, temperature: TEMPERATURE },
  hellinger: { summary: "Hellinger 距离的平方：对称，0 到 1。", other: OTHER, temperature: TEMPERATURE },
  total_variation: { summary: "需要移动的权重份额：0 到 1。", other: OTHER, temperature: TEMPERATURE },
  map_mse: { summary: "权重之差的均方。", formula: "(1/M_i)·Σ_j (p_ij − r_ij)²，M_i 为可见键数", other: OTHER, temperature: TEMPERATURE },
  cosine: { summary: "1 减去两图权重的余弦。", other: OTHER, temperature: TEMPERATURE },
  score_mse: {
    summary: "softmax 之前分数之差的均方。",
    formula: "(1/M_i)·Σ_j (s_ij − t_ij)²，M_i 为可见键数",
    other: OTHER,
    compat: compat("分数 ≤ −100 计为 0，对全部单元（含填充）求平均"),
  },
  disagreement: { summary: "两头之图的平均余弦。", formula: "对 a < b 求平均：⟨P^a, P^b⟩ / (‖P^a‖·‖P^b‖)，逐批次" },
  orthogonality: { summary: "各头重叠矩阵与单位阵之差的平方。", formula: "对 i 求平均：‖A_i·A_iᵀ − I‖²，A_i 为各头在查询 i 的权重，逐批次" },
};

/** A loss of `GET /losses` that tells what it is in the language of the page, whichever that is when it is read. */
export function inLanguage(spec) {
  const say = (name, english) => (language === "zh" && CHINESE[spec.name]?.[name]) || english;
  return {
    ...spec,
    parameters: spec.parameters.map((one) => ({
      ...one,
      get help() {
        return say(one.name, one.help);
      },
    })),
    get summary() {
      return say("summary", spec.summary);
    },
    get formula() {
      return say("formula", spec.formula);
    },
  };
}
