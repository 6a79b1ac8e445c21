//! Frozen parity. Stored data depends on these bytes: they never change.
//!
//! Produced once with `reed-solomon-erasure` 6.0.0 (`galois_8::ReedSolomon`,
//! `encode_sep`) from the data units of [`data_unit`], printed 32 bytes a line.
//! Not here: how an engine is held against them (`self_test`).

/// Bytes in each unit of a vector.
pub(crate) const GOLDEN_UNIT: usize = 256;

/// The parity units of one scheme, back to back, in hexadecimal.
pub(crate) struct Golden {
    pub(crate) scheme: &'static str,
    pub(crate) parity: &'static str,
}

/// Data unit `index` of every vector. The factor is odd, so that each unit
/// runs through all 256 byte values, each unit in an order of its own.
pub(crate) fn data_unit(index: u8) -> [u8; GOLDEN_UNIT] {
    let factor = index.wrapping_mul(2).wrapping_add(1);
    let start = index.wrapping_mul(31);
    let mut unit = [0; GOLDEN_UNIT];
    for (byte, value) in unit.iter_mut().zip(0..=u8::MAX) {
        *byte = value.wrapping_mul(factor).wrapping_add(start);
    }
    unit
}

/// One entry per scheme that the manual recommends, and one wider.
pub(crate) const VECTORS: [Golden; 4] = [
    Golden {
        scheme: "3+3",
        parity: concat!(
            "21606f667d7c6b525958473e3534c3cad1d0dfd6edecdbc2c9c8b7aea5a4b3ba",
            "81404f465d5c4bb2b9b8a79e9594a3aab1b0bfb6cdccbba2a9a8978e8584939a",
            "e1202f263d3c2b12191807fef5f4838a91909f96adac9b828988776e6564737a",
            "41000f061d1c0b727978675e5554636a71707f768d8c7b626968574e4544535a",
            "a1e0efe6fdfcebd2d9d8c7beb5b4434a51505f566d6c5b424948372e2524333a",
            "01c0cfc6dddccb323938271e1514232a31303f364d4c3b222928170e0504131a",
            "61a0afa6bdbcab929998877e7574030a11101f162d2c1b020908f7eee5e4f3fa",
            "c1808f869d9c8bf2f9f8e7ded5d4e3eaf1f0fff60d0cfbe2e9e8d7cec5c4d3da",
            "7c9586ff88b162cb94ddae70675e171eb1180b72c5fc325b044d639a8db4878e",
            "dce6f58cfbc211025d14678394ad5e57f851423b1128dcb5eaa310e9fec7f4fd",
            "488695ec9ba271d887cebd170039575ef1584b3285bc721b440d04fdead3e0e9",
            "bbf5e69fe8d10236692053b7a0996a63cc65760f023bbbd28dc4778e99a0939a",
            "fc15067f0831e24b145d2ef0e7de979e31988bf2457cb2db84cde31a0d34070e",
            "5c66750c7b429182dd94e703142dded778d1c2bb91a85c356a2390697e47747d",
            "c806156c1b22f158074e3d9780b9d7de71d8cbb2053cf29bc48d847d6a536069",
            "3b75661f685182b6e9a0d3372019eae34ce5f68f82bb3b520d44f70e1920131a",
            "63b6a1d4a79a55f8abee993b2815505dee5b4c398ab745287b3e14f1e2dfe0ed",
            "834552275469a6b1e2a7d0081b26d9d467d2c5b09ea32b461550e702112c131e",
            "d72532473409c66b387d0a5c4f72101dae1b0c79caf705683b7e739685b8878a",
            "e4d6c1b4c7fa3505561364bcaf926d60d36671040d304c2172378065764b7479",
            "e3362154271ad5782b6e19bba895d0dd6edbccb90a37c5a8fbbe9471625f606d",
            "03c5d2a7d4e92631622750889ba65954e75245301e23abc695d0678291ac939e",
            "57a5b2c7b48946ebb8fd8adccff2909d2e9b8cf94a7785e8bbfef3160538070a",
            "64564134477ab585d693e43c2f12ede053e6f1848db0cca1f2b700e5f6cbf4f9",
        ),
    },
    Golden {
        scheme: "4+2",
        parity: concat!(
            "02c5d6f2d81d93dddf36ffafe57c69ee1c485bc59551784c4fa65bff0f96f8ac",
            "19b6a581abd55b1416ff8d8ec45d49a7550112e54185ffcb739a93377ce58bdf",
            "e4d6c5e1cbdc521c1ef73ec8821bfbae5c081b85d511380cdd343c9868f19fcb",
            "7ea5b692b8c648f2f019b9baf0697d936135260352964a7ec62f26821b82ecb8",
            "82455672589d135d5fb67f2f65fce96e9cc8db4515d1f8cccf26db7f8f16782c",
            "993625012b55db94967f0d0e44ddc927d5819265c1057f4bf31a13b7fc650b5f",
            "645645614b5cd29c9e77be48029b7b2edc889b055591b88c5db4bc18e8711f4b",
            "fe2536123846c8727099393a70e9fd13e1b5a683d216cafe46afa6029b026c38",
            "08fee9a1ef04f61c72a7aabb95383b850b130436c252e7b7a277d30b5ff2f0c0",
            "e90d1a521cf604553beee27d53fe460c829a8d4bd6467d2d39ec21f9ac010333",
            "496d7a327c62907a14c1ccdcf25f8ec54b5344768212a7f717c2b46c389597a7",
            "8e9e89c18f6597147aaf56c9e74af2b8362e390a45d5efbfab7eb36bcb666454",
            "887e69216f84769cf2272a3b15b8bb058b9384b642d2673722f7538bdf727040",
            "698d9ad29c7684d5bb6e62fdd37ec68c021a0dcb56c6fdadb96ca1792c8183b3",
            "c9edfab2fce210fa94414c5c72df0e45cbd3c4f602922777974234ecb8151727",
            "0e1e09410fe51794fa2fd64967ca7238b6aeb98ac5556f3f2bfe33eb4be6e4d4",
        ),
    },
    Golden {
        scheme: "8+4",
        parity: concat!(
            "1a7c9c79971d6b458722aef406cc83b61ec863373373931da594dfbaf917e449",
            "a671914faa9b891872e216012d1ff16d94427f08f2f9a349bc8d82a6d6e6b644",
            "6511f17e784a8fcbf75236f66ea4b42f5e88237719021c92f8c96ee3a0da9a37",
            "d81cfc918ad1c3e53cc68a9d4f26a23ec7111d2c89829bc2dfee1f512a1aa23a",
            "9afc1cf9179debc507a22e74864c03369e48e3b7b3f3139d25145f3a799764c9",
            "26f111cf2a1b0998f2629681ad9f71ed14c2ff88727923c93c0d0226566636c4",
            "e59171fef8ca0f4b77d2b676ee2434afde08a3f799829c127849ee63205a1ab7",
            "589c7c110a514365bc460a1dcfa622be47919dac09021b425f6e9fd1aa9a22ba",
            "39b926f76819478671c820f5c122f9ad756d3212d6f3aa52dc8005f336d73395",
            "f934ab41d53e3fb2046afdd31f22796f3f27e510ec7dfa5d7b273d636d74da18",
            "ee54cba9c8e6d2a0bf06102ea94a2934352d7252259425ddbfe3b4bc79c34deb",
            "87d946c6bae2e328f429e1cfeb42aabcecf41153178633fe267a88655e471766",
            "b939a677e899c706f148a07541a2792df5edb29256732ad25c008573b657b315",
            "79b42bc155bebf3284ea7d539fa2f9efbfa765906cfd7addfba7bde3edf45a98",
            "6ed44b29486652203f8690ae29caa9b4b5adf2d2a514a55d3f63343cf943cd6b",
            "0759c6463a6263a874a9614f6bc22a3c6c7491d39706b37ea6fa08e5dec797e6",
            "46a163e3460324b66bff4f6d46b6af4819d508371793a23c46e8a2a733c190ba",
            "4b2cee73345ef86411f1adac7f519bb713df3c4e3c98bea143ed8cc8909a8137",
            "674c8ee629459ce6881cc6a26191091e59954877bfaf2db308a693fc68c16e44",
            "b5c103609416b0c74c44313050eac8e4408c13fb08acda3bb31dcf63ece697c9",
            "c621e363c683a436eb7fcfedc6362fc8995588b7971322bcc6682227b341103a",
            "cbac6ef3b4de78e491712d2cffd11b37935fbccebc183e21c36d0c48101a01b7",
            "e7cc0e66a9c51c66089c4622e111899ed915c8f73f2fad338826137ce841eec4",
            "354183e014963047ccc4b1b0d06a4864c00c937b882c5abb339d4fe36c661749",
            "08d01092bfdf1c422e29865b80510a20a3c46a11e7d17a788c3a96f9db2e915a",
            "9fdd1d824de3bcf9d4ac2820250c6509690e7cfc11378917b701f4332a011d57",
            "cebd7d019f7e55f5f3f4e882a7760476e3842a515934f5f77ccaa77b59386fa4",
            "61b07007a2f2ad72b731343c5321b6dabadd0a61a5839ceaf94fd0e999b21da9",
            "885090123f5f9cc2aea906db00d18aa02344ea916751faf80cba16795bae11da",
            "1f5d9d02cd633c79542ca8a0a58ce589e98efc7c91b70997378174b3aa819dd7",
            "4e3dfd811ffed5757374680227f684f66304aad1d9b47577fc4a27fbd9b8ef24",
            "e130f08722722df237b1b4bcd3a1365a3a5d8ae125031c6a79cf506919329d29",
        ),
    },
    Golden {
        scheme: "10+4",
        parity: concat!(
            "2105c246b02dfafcc323ac9e69c5ada447d56d1a1c4b9ebb1f5315e77e056297",
            "95a562801f944d5c6c9441ecb1ea72d2e7753346bdff1224dfd3cc31276baa37",
            "f2c502b6eeac84af6c91b0bcfb4a2fab07952d47f1ea5e66307cc80990a73f57",
            "5565a23fdc7aa38c43969c2c10073292a73592c4326dec386de19f4fe4355af7",
            "a18542c630ad7a7c43a32c1ee9452d24c755ed9a9ccb1e3b9fd39567fe85e217",
            "1525e2009f14cddcec14c16c316af25267f5b3c63d7f92a45f534cb1a7eb2ab7",
            "724582366e2c042fec11303c7bcaaf2b8715adc7716adee6b0fc48891027bfd7",
            "d5e522bf5cfa230cc3161cac9087b21227b51244b2ed6cb8ed611fcf64b5da77",
            "a3922cc2e9ce39385f4c9cf25717b514d92219a2d672a803e3c64c2ba6f113c8",
            "71b20c848637281870d2d829661183edb9426e5711afeb356306bc9459f9fde8",
            "3fd26cfdb780c724f07ecf1f4598781b9962597ff41c685e4c69110a879cce08",
            "b1f24cf4c59689875f1f056988b3432d7982801a1e3d15e6d13420ea9a274228",
            "2312ac42694eb9b8dfcc1c72d797359459a2992256f228836346ccab26719348",
            "f1328c0406b7a898f05258a9e691036d39c2eed7912f6bb5e3863c14d9797d68",
            "bf52ec7d370047a470fe4f9fc518f89b19e2d9ff749ce8decce9918a071c4e88",
            "3172cc7445160907df9f85e90833c3adf902009a9ebd956651b4a06a1aa7c2a8",
            "a392772257e60f59502013b52b6ec8c74c0227a320009b0a76d8a6fa52ddd144",
            "5ab25763543c84c34ee503c2eca360ad6c229a1e32b7a2588d635356d3565c64",
            "86d237c925473bfc682288da6f10e1390c4267d97167db704ee05c238bb22b04",
            "1af217361ce55d6e764c79828bf220ed2c62fd374cf396c38fe1f6621b24b724",
            "2312f7a2d7668fd9d0a09335abee4847cc82a723a0801b8af658267ad25d51c4",
            "da32d7e3d4bc0443ce6583426c23e02deca21a9eb23722d80de3d3d653d6dce4",
            "0652b749a5c7bb7ce8a2085aef9061b98cc2e759f1e75bf0ce60dca30b32ab84",
            "9a7297b69c65ddeef6ccf9020b72a06dace27db7cc7316430f6176e29ba437a4",
            "bdd6e1d1d73b96422e65759774fd7e5db2267030fe3c5d31e89c5f188ccf9840",
            "2576411014617c18b07f3abf6cef094952c652928dd4dabcd3e7756b2c6534e0",
            "2616210425a42259966750c6b08369a3f26630ca91e51dcbd0a4257feb9ee200",
            "65b6817b5c869b8b0868407f3500c98992060b057390ee1951e5ee5f641761a0",
            "3d56615157bb16c2aee5f517f47dfedd32a6f0b07ebcddb1681cdf980c4f18c0",
            "a5f6c19094e1fc9830ffba3fec6f89c9d246d2120d545a3c5367f5ebace5b460",
            "a696a184a524a2d916e7d0463003e92372e6b04a11659d4b5024a5ff6b1e6280",
            "e53601fbdc061b0b88e8c0ffb580490912868b85f3106e99d1656edfe497e120",
        ),
    },
];
